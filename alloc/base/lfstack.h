// lfstack.h - A lock-free stack with many pushers and one taker of all.
//
// Only push and take_all exist: without a pop of single elements there is no ABA problem and no need for tags.
// `Next` is the member of T that links the stack; it belongs to the pusher before, and to the taker after.
#ifndef TRI_ALLOC_BASE_LFSTACK_H
#define TRI_ALLOC_BASE_LFSTACK_H

#include <atomic>

namespace tri {

template <class T, T* T::*Next>
class LfStack {
 public:
  /// seq_cst: an owner that has announced its end looks here after that (see remote_free.cc).
  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

  /// Any thread, in parallel with everything.
  void push(T* t) {
    T* head = head_.load(std::memory_order_relaxed);
    do {
      t->*Next = head;
      // seq_cst: publishes t and its link to take_all(); and stands before the pusher's look at whether the taker is
      // still there (see remote_free.cc), which a weaker order could move up.
    } while (!head_.compare_exchange_weak(head, t, std::memory_order_seq_cst, std::memory_order_relaxed));
  }

  /// Any thread, in parallel with everything: each element is taken by exactly one caller.
  T* take_all() {
    if (empty()) return nullptr;
    // acquire: pairs with push().
    return head_.exchange(nullptr, std::memory_order_acquire);
  }

  void abandon() { head_.store(nullptr, std::memory_order_relaxed); }

 private:
  std::atomic<T*> head_{nullptr};
};

}  // namespace tri

#endif
