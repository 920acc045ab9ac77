// children.cc - fork in the middle of everything: the child runs goroutines of its own, and ends.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work.h"

namespace stress {
namespace {

constexpr unsigned kPatience = 30;  // seconds

// A child that hangs says what its tasks do.
void report_and_exit(int) {
  (void)tri_report(2, "tasks");
  _exit(99);
}

/// Goroutines that compute, sleep, wait for one another and for a socket; a blocking region that others must run beside.
[[noreturn]] void child(Random random) {
  signal(SIGALRM, report_and_exit);
  alarm(kPatience);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (random.one_in(3)) tri_procs(1 + static_cast<int>(random.below(3)));
  tri_chan* const chan = tri_chan_new(8, random.below(2));
  int fds[2];
  STRESS_EQ(tri_pipe(fds), 0);
  std::atomic<bool> go_on{false};
  tri_wg done = {};
  tri_wg_add(&done, 3);
  struct All {
    tri_chan* chan;
    int* fds;
    std::atomic<bool>* go_on;
    tri_wg* done;
  } all = {chan, fds, &go_on, &done};
  STRESS_EQ(tri_go(
                [](void* p) {
                  auto* const a = static_cast<All*>(p);
                  for (uint64_t i = 0; i < 10; ++i) STRESS_EQ(tri_chan_send(a->chan, &i, TRI_FOREVER), 0);
                  tri_chan_close(a->chan);
                  tri_wg_done(a->done);
                },
                &all),
            0);
  STRESS_EQ(tri_go(
                [](void* p) {
                  auto* const a = static_cast<All*>(p);
                  char c = 0;
                  STRESS_EQ(tri_read(a->fds[0], &c, 1, TRI_FOREVER), 1);
                  STRESS_EQ(tri_sleep(200'000), 0);
                  tri_wg_done(a->done);
                },
                &all),
            0);
  for (uint64_t i = 0, v = 0; i < 10; ++i) {
    STRESS_EQ(tri_chan_recv(chan, &v, TRI_FOREVER), 0);
    STRESS_EQ(v, i);
  }
  STRESS_EQ(tri_write(fds[1], "x", 1, TRI_FOREVER), 1);
  STRESS_EQ(tri_go(
                [](void* p) {
                  auto* const a = static_cast<All*>(p);
                  a->go_on->store(true);
                  tri_wg_done(a->done);
                },
                &all),
            0);
  // Neither who computes nor who blocks keeps the others from running.
  if (random.one_in(2)) {
    while (!go_on.load(std::memory_order_relaxed)) {
    }
  } else {
    tri_blocking_begin();
    while (!go_on.load()) usleep(100);
    tri_blocking_end();
  }
  STRESS_EQ(tri_wg_wait(&done, TRI_FOREVER), 0);
  _exit(0);
}

}  // namespace

void forks(Random& random) {
  const Random childs(random.next());
  const pid_t pid = fork();
  STRESS_CHECK(pid >= 0);
  if (pid == 0) child(childs);
  int status = 0;
  tri_blocking_begin();
  pid_t ended;
  while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
  }
  tri_blocking_end();
  STRESS_EQ(ended, pid);
  STRESS_EQ(status, 0);
}

}  // namespace stress
