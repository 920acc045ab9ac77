// fork_support.h - fork() as the shim does it: with the allocator told before and after.
#ifndef TRI_TESTS_ALLOC_FORK_SUPPORT_H
#define TRI_TESTS_ALLOC_FORK_SUPPORT_H

#include "tests/alloc/support.h"

namespace tri::test {

/// Runs fn() in a child that may allocate; its exit status.
template <class Fn>
int in_forked_child(Fn&& fn) {
  fflush(stdout);
  fork_prepare();
  const pid_t pid = fork();
  if (pid == 0) {
    fork_child();
    _exit(fn());
  }
  fork_parent();
  return wait_for(pid);
}

}  // namespace tri::test

#endif
