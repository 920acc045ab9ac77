// scope.cc - See scope.h.
#include "sched/scope.h"

#include <cerrno>
#include <new>

#include "alloc/malloc.h"
#include "sched/proc.h"

namespace tri::sched {
struct Scope::Task {
  Scope* scope;
  int (*fn)(void*);
  void* arg;
};

int Scope::open(Context* parent, Time deadline, uint32_t limit) {
  context_ = Context::create(parent, deadline, nullptr, nullptr);
  if (context_ == nullptr) return -ENOMEM;
  limited_ = limit != 0;
  places_.release(limit);
  return 0;
}

int Scope::go(int (*fn)(void*), void* arg, Time deadline) {
  if (limited_) {
    if (const int result = places_.acquire(1, deadline); result != 0) return result;
  }
  Task* const task = static_cast<Task*>(allocate(sizeof(Task)));
  int result = -ENOMEM;
  if (task != nullptr) {
    *task = {this, fn, arg};
    tasks_.add(1);
    result = sched::go(&run, task);
    if (TRI_LIKELY(result == 0)) return 0;
    deallocate(task);
    tasks_.done();
  }
  if (limited_) places_.release(1);
  return result;
}

void Scope::run(void* arg) {
  const Task task = *static_cast<Task*>(arg);
  deallocate(arg);
  Scope* const scope = task.scope;
  // The context stays until all tasks have ended.
  Context* const before = scope->context_ == nullptr ? nullptr : attach_context(scope->context_);
  const int error = task.fn(task.arg);
  if (scope->context_ != nullptr) attach_context(before);
  scope->finish(error);
}

void Scope::finish(int error) {
  if (error != 0) {
    int none = 0;
    // release: pairs with the acquire in error().
    if (error_.compare_exchange_strong(none, error, std::memory_order_release, std::memory_order_relaxed)) cancel();
  }
  if (limited_) places_.release(1);
  // Last: the scope may be gone afterwards.
  tasks_.done();
}

void Scope::cancel() {
  if (context_ != nullptr) context_->cancel();
}

int Scope::wait(Time deadline) {
  int result = tasks_.wait(kNoWait);
  if (result != 0 && deadline > kNoWait) {
    G* const g = current();
    if (g == nullptr) return -ENOMEM;
    Uncancelled scope(g);
    result = tasks_.wait(deadline);
  }
  if (result != 0) return result;
  if (context_ != nullptr) {
    context_->cancel();
    context_->unref();
    context_ = nullptr;
  }
  return 0;
}

}  // namespace tri::sched
