// lean.cc - A process that gave up nearly all system calls still has a heap.
//
// The filter lets read, write, brk, mmap, munmap, mprotect, madvise, mremap, exit, exit_group, futex and the rt_sig
// family through; every other call fails with EPERM. Programs that shut themselves in this way expect malloc to need
// no more than that.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

constexpr unsigned kAllowed[] = {
    SYS_read,           SYS_write,        SYS_brk,           SYS_mmap,
    SYS_munmap,         SYS_mprotect,     SYS_madvise,       SYS_mremap,
    SYS_exit,           SYS_exit_group,   SYS_futex,         SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait};
constexpr size_t kCount = sizeof kAllowed / sizeof kAllowed[0];

void shut_in() {
  sock_filter program[kCount + 3];
  size_t n = 0;
  program[n++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (size_t i = 0; i < kCount; ++i)
    program[n++] =
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAllowed[i], static_cast<unsigned char>(kCount - i), 0);
  program[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  program[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  sock_fprog filter{static_cast<unsigned short>(n), program};
  require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
  require(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0,
          "a filter");
  require(syscall(SYS_getppid) == -1 && errno == EPERM, "the filter holds");
}

pthread_barrier_t g_shut;
void* g_exchange[4][500];

void work(size_t me) {
  for (size_t round = 0; round < 5; ++round) {
    for (size_t i = 0; i < 500; ++i) {
      size_t size = i % 50 == 0 ? 300000 : i * 7;
      g_exchange[me][i] = round % 2 == 0 ? malloc(size + 1) : calloc(1, size + 1);
      require(g_exchange[me][i] != nullptr, "memory behind the filter");
      memset(g_exchange[me][i], 1, size + 1);
    }
    pthread_barrier_wait(&g_shut);
    for (void*& p : g_exchange[(me + 1) % 4]) free(realloc(p, 100));  // another thread's blocks
    pthread_barrier_wait(&g_shut);
  }
  for (size_t size : {size_t{1} << 20, size_t{30} << 20, size_t{100} << 20}) {
    void* p = malloc(size);
    require(p != nullptr, "large memory behind the filter");
    static_cast<char*>(p)[size - 1] = 1;
    p = realloc(p, size * 2);
    require(p != nullptr, "larger memory behind the filter");
    free(p);
    free(memalign(1u << 21, size));
  }
  malloc_trim(0);
}

void* thread(void* argument) {
  pthread_barrier_wait(&g_shut);  // started: that took calls which are soon forbidden
  pthread_barrier_wait(&g_shut);
  work(reinterpret_cast<size_t>(argument));
  return nullptr;
}

}  // namespace

int main() {
  // Threads start before the filter: starting them needs calls that it forbids. They have not called malloc so far.
  pthread_barrier_init(&g_shut, nullptr, 4);
  pthread_t threads[3];
  for (size_t i = 0; i < 3; ++i)
    require(pthread_create(&threads[i], nullptr, thread, reinterpret_cast<void*>(i + 1)) == 0,
            "a thread");
  pthread_barrier_wait(&g_shut);
  shut_in();
  pthread_barrier_wait(&g_shut);
  work(0);
  for (auto& t : threads) pthread_join(t, nullptr);
  say("worked\n");
  _exit(0);
}
