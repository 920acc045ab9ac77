// scope.h - Several goroutines that end before their starter goes on: 48 bytes, empty when zero.
//
// As golang.org/x/sync/errgroup: go() starts a task in the scope, the first error is kept and cancels the scope's context, wait()
// returns when all tasks have ended. Tasks run with the scope's context attached, so their waits obey it.
//
// Uses: waitgroup, semaphore, context. Used by: shim.
#ifndef TRI_SCHED_SCOPE_H
#define TRI_SCHED_SCOPE_H

#include "sched/context.h"
#include "sched/semaphore.h"
#include "sched/waitgroup.h"

namespace tri::sched {

class Scope {
 public:
  /// Before the first go(), and only for what a zero scope lacks: a context of its own below `parent` (may be null), over at the
  /// deadline; and a bound for how many tasks run at once (0: none). 0; -ENOMEM.
  [[nodiscard]] int open(Context* parent, Time deadline, uint32_t limit);
  /// Starts fn(arg) in a goroutine. Waits for a place if there is a limit. 0; -ENOMEM, or what starting one fails with; -EAGAIN,
  /// -ETIMEDOUT, -ECANCELED: no place until the deadline, which is not used without limit.
  [[nodiscard]] int go(int (*fn)(void*), void* arg, Time deadline);
  void cancel();
  /// Waits for all tasks, whatever becomes of the caller's context: they may use the caller's memory. Then gives up the
  /// scope's context. 0; -EAGAIN for kNoWait, -ETIMEDOUT, -ENOMEM. One caller at a time.
  [[nodiscard]] int wait(Time deadline);
  /// What the first task that failed returned; 0 if none did.
  int error() const { return error_.load(std::memory_order_acquire); }
  Context* context() const { return context_; }

 private:
  struct Task;
  static void run(void* task);
  void finish(int error);

  WaitGroup tasks_;
  Semaphore places_;
  Context* context_;
  std::atomic<int> error_;
  bool limited_;
};

static_assert(sizeof(Scope) == 48);

}  // namespace tri::sched

#endif
