// first_call.cc - Makes one exported function the first call of the process, or of a thread.
//
//   first_call NAME process|thread|child
//
// Linked without the C++ runtime, whose start-up allocates.
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/require.h"

namespace {

using tri_test::require;

const char* g_name;
void* g_function;
void* g_block;  // made by another thread, for the functions that take one

template <class F>
F* as() {
  return reinterpret_cast<F*>(g_function);
}

bool is(const char* name) { return strcmp(g_name, name) == 0; }

void use(void* p, size_t n) {
  require(p != nullptr, "a block from the first call");
  require(reinterpret_cast<uintptr_t>(p) % 16 == 0, "an aligned block");
  memset(p, 1, n);
  free(p);
}

// The call itself; g_block is null when it is the first one of the whole process.
void call() {
  if (is("malloc") || is("valloc") || is("pvalloc") || is("__libc_malloc") || is("__libc_valloc") ||
      is("__libc_pvalloc") || is("_Znwm") || is("_Znam")) {
    use(as<void*(size_t)>()(100), 100);
  } else if (is("calloc") || is("__libc_calloc")) {
    use(as<void*(size_t, size_t)>()(10, 10), 100);
  } else if (is("realloc") || is("__libc_realloc") || is("reallocf")) {
    use(as<void*(void*, size_t)>()(g_block, 100), 100);
  } else if (is("reallocarray")) {
    use(as<void*(void*, size_t, size_t)>()(g_block, 10, 10), 100);
  } else if (is("aligned_alloc") || is("memalign") || is("__libc_memalign")) {
    use(as<void*(size_t, size_t)>()(64, 100), 100);
  } else if (is("posix_memalign")) {
    void* p = nullptr;
    require(as<int(void**, size_t, size_t)>()(&p, 64, 100) == 0, "posix_memalign as first call");
    use(p, 100);
  } else if (is("_ZnwmRKSt9nothrow_t") || is("_ZnamRKSt9nothrow_t")) {
    char nothrow = 0;
    use(as<void*(size_t, const char&)>()(100, nothrow), 100);
  } else if (is("_ZnwmSt11align_val_t") || is("_ZnamSt11align_val_t")) {
    use(as<void*(size_t, size_t)>()(100, 64), 100);
  } else if (is("_ZnwmSt11align_val_tRKSt9nothrow_t") || is("_ZnamSt11align_val_tRKSt9nothrow_t")) {
    char nothrow = 0;
    use(as<void*(size_t, size_t, const char&)>()(100, 64, nothrow), 100);
  } else if (is("free") || is("cfree") || is("__libc_free") || is("_ZdlPv") || is("_ZdaPv")) {
    as<void(void*)>()(g_block);
  } else if (is("free_sized") || is("_ZdlPvm") || is("_ZdaPvm")) {
    as<void(void*, size_t)>()(g_block, 100);
  } else if (is("_ZdlPvRKSt9nothrow_t") || is("_ZdaPvRKSt9nothrow_t")) {
    char nothrow = 0;
    as<void(void*, const char&)>()(g_block, nothrow);
  } else if (is("_ZdlPvSt11align_val_t") || is("_ZdaPvSt11align_val_t")) {
    as<void(void*, size_t)>()(g_block, 16);
  } else if (is("_ZdlPvmSt11align_val_t") || is("_ZdaPvmSt11align_val_t")) {
    as<void(void*, size_t, size_t)>()(g_block, 100, 16);
  } else if (is("_ZdlPvSt11align_val_tRKSt9nothrow_t") ||
             is("_ZdaPvSt11align_val_tRKSt9nothrow_t")) {
    char nothrow = 0;
    as<void(void*, size_t, const char&)>()(g_block, 16, nothrow);
  } else if (is("free_aligned_sized")) {
    as<void(void*, size_t, size_t)>()(g_block, 16, 100);
  } else if (is("sdallocx")) {
    if (g_block != nullptr)
      as<void(void*, size_t, int)>()(g_block, 100, 0);  // null is not allowed here
  } else if (is("malloc_usable_size")) {
    require(as<size_t(void*)>()(g_block) >= (g_block != nullptr ? 100u : 0u), "a usable size");
  } else if (is("malloc_good_size")) {
    require(as<size_t(size_t)>()(100) >= 100, "a good size");
  } else if (is("nallocx")) {
    require(as<size_t(size_t, int)>()(100, 0) >= 100, "a good size");
  } else if (is("malloc_trim")) {
    as<int(size_t)>()(0);
  } else if (is("mallinfo")) {
    as<struct mallinfo()>()();
  } else if (is("mallinfo2")) {
    as<struct mallinfo2()>()();
  } else if (is("mallopt")) {
    as<int(int, int)>()(M_MMAP_THRESHOLD, 1 << 20);
  } else if (is("malloc_stats")) {
    as<void()>()();
  } else if (is("malloc_info")) {
    as<int(int, FILE*)>()(0, stdout);
  } else if (is("tri_version")) {
    require(as<const char*()>()() != nullptr, "a version");
  } else if (is("tri_active")) {
    require(as<bool()>()(), "active");
  } else if (is("tri_set")) {
    require(as<int(const char*, const char*)>()("stats", "off") == 0, "tri_set");
  } else if (is("tri_get")) {
    char value[32];
    require(as<int(const char*, char*, size_t)>()("stats", value, sizeof value) >= 0, "tri_get");
  } else if (is("tri_stats_get")) {
    char room[16];
    as<int(void*, size_t)>()(room, sizeof room);
  } else if (is("tri_report")) {
    require(as<int(int, const char*)>()(1, "stats") == 0, "tri_report");
  } else if (is("tri_alloc")) {
    use(as<void*(size_t, unsigned)>()(100, 0), 100);
  } else if (is("tri_alloc_at_least")) {
    struct Block {
      void* ptr;
      size_t size;
    } b = as<Block(size_t, unsigned)>()(100, 0);
    use(b.ptr, b.size);
  } else if (is("tri_realloc")) {
    use(as<void*(void*, size_t, unsigned)>()(g_block, 100, 0), 100);
  } else if (is("tri_expand")) {
    if (g_block != nullptr) as<bool(void*, size_t)>()(g_block, 200);
  } else if (is("tri_free")) {
    as<void(void*)>()(g_block);
  } else if (is("tri_free_sized")) {
    as<void(void*, size_t)>()(g_block, 100);
  } else if (is("tri_free_batch")) {
    as<void(void**, size_t)>()(&g_block, 1);
  } else if (is("tri_good_size")) {
    require(as<size_t(size_t)>()(100) >= 100, "a good size");
  } else if (is("tri_size")) {
    require(as<size_t(const void*)>()(g_block) >= (g_block != nullptr ? 100u : 0u), "a size");
  } else if (is("tri_base")) {
    require(as<void*(const void*)>()(g_block) == g_block, "the base");
  } else if (is("tri_owns")) {
    require(as<bool(const void*)>()(g_block) == (g_block != nullptr), "the owner");
  } else if (is("tri_purge")) {
    as<size_t()>()();
  } else if (is("tri_walk")) {
    as<int(int (*)(void*, size_t, unsigned, void*), void*)>()(
        [](void*, size_t, unsigned, void*) { return 0; }, nullptr);
  } else {
    require(false, "a known name");
  }
}

void afterwards() {
  for (size_t i = 0; i < 2000; ++i) {
    void* p = malloc(i);
    require(p != nullptr, "memory afterwards");
    memset(p, 1, i);
    free(p);
  }
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 3, "first_call NAME process|thread|child");
  g_name = argv[1];
  g_function = dlsym(RTLD_DEFAULT, g_name);
  require(g_function != nullptr, g_name);
  if (strcmp(argv[2], "process") == 0) {
    call();
  } else if (strcmp(argv[2], "child") == 0) {
    pid_t child = fork();
    if (child == 0) {
      call();
      afterwards();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    require(status == 0, "the child's first call");
  } else {
    g_block = malloc(100);
    pthread_t thread;
    auto body = [](void*) -> void* {
      call();
      return nullptr;
    };
    require(pthread_create(&thread, nullptr, body, nullptr) == 0, "a thread");
    pthread_join(thread, nullptr);
  }
  afterwards();
  return 0;
}
