// waitq.cc - See waitq.h.
#include "sched/waitq.h"

namespace tri::sched {

[[gnu::noinline]] void leave_queue(SpinLock& lock, WaitQueue& queue, Waiter* w) {
  SpinGuard guard(lock);
  if (w->queued()) queue.remove(w);
}

}  // namespace tri::sched
