// context.h - Contexts: a tree of "stop by then, or when told", which waits obey.
//
// A Context is cancelled by cancel(), with all below it, or is over when its deadline passes (that of a child is never later than
// its parent's). Whoever may wait under it registers the wait as a ContextWait, on its own stack:
//
//   - every park() of a goroutine to which a context is attached (G::context) registers itself, and looks no further if the
//     context was cancelled before; a cancellation then claims the wait as any waker does, and park() returns -ECANCELED;
//   - a case of a select, and wait(), register with a result of their own.
//
// A deadline needs no timer here: a wait under a context simply ends at the earlier of both deadlines, and error() looks
// at the clock.
//
//   cancelled  =>  no wait is registered, and all children are cancelled
//
// Locks: tree_ (one for each tree: its links; may wait) before lock_ (the waits; short). Values need no lock: a child
// holds its parent, and neither changes.
//
// Uses: wait, mutex. Used by: park, select, scope, shim.
#ifndef TRI_SCHED_CONTEXT_H
#define TRI_SCHED_CONTEXT_H

#include <atomic>

#include "alloc/base/list.h"
#include "sched/g.h"
#include "sched/mutex.h"
#include "sched/wait.h"

namespace tri::sched {

struct ContextWait {
  ContextWait* next = nullptr;  // Context::lock_
  ContextWait* prev = nullptr;
  G* g;
  WaitId id;
  int result;  // what a cancellation gives to ready()
};

class Context {
 public:
  /// A child of `parent` (may be null: a tree of its own), which it keeps alive; cancelled already if the parent is. key
  /// may be null: no value. One reference is the caller's. Null when there is no memory.
  [[nodiscard]] static Context* create(Context* parent, Time deadline, const void* key, void* value);
  void ref();
  void unref();

  /// Cancels it and all below it. Wakes who waits. Any thread; again has no effect.
  void cancel();
  /// 0; -ECANCELED; -ETIMEDOUT: its deadline has passed. Once other than 0 it does not become 0 again.
  int error() const;
  Time deadline() const { return deadline_; }
  /// The value of the nearest context upwards with this key; null if there is none.
  void* value(const void* key) const;
  /// Waits until it is over: 0; or -ETIMEDOUT by the deadline given, -EAGAIN for kNoWait, -ECANCELED by the waiter's own context.
  [[nodiscard]] int wait(Time deadline);

  /// Registers a wait that was begun. False, and nothing done, if it is cancelled already.
  [[nodiscard]] bool enter(ContextWait* w);
  /// Takes the wait back, if a cancellation has not yet.
  void leave(ContextWait* w);

  Context* next = nullptr;  // tree_: siblings
  Context* prev = nullptr;

 private:
  Context(Context* parent, Time deadline, const void* key, void* value)
      : parent_(parent), deadline_(deadline), key_(key), value_(value) {}
  Context* next_in_tree(const Context* top) const;

  std::atomic<size_t> references_{1};
  std::atomic<bool> cancelled_{false};  // lock_; read without
  SpinLock lock_;
  List<ContextWait> waits_;  // lock_
  List<Context> children_;   // tree_
  Context* const parent_;
  Mutex* tree_ = nullptr;  // constant: own_tree_ of the root
  Mutex own_tree_;
  const Time deadline_;
  const void* const key_;
  void* const value_;
};

/// Makes `context` (may be null) the calling goroutine's or thread's, and returns the one before. The caller keeps it alive for as
/// long as it is attached.
Context* attach_context(Context* context);
Context* attached_context();

/// In this scope waits of the calling goroutine are not cancelled: for those that must not fail.
class Uncancelled {
 public:
  explicit Uncancelled(G* g) : g_(g), saved_(g->context) { g->context = nullptr; }
  ~Uncancelled() { g_->context = saved_; }
  Uncancelled(const Uncancelled&) = delete;
  Uncancelled& operator=(const Uncancelled&) = delete;

 private:
  G* g_;
  Context* saved_;
};

}  // namespace tri::sched

#endif
