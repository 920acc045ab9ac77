// list.h - A doubly linked list through the members `next` and `prev` of its elements.
//
// Circular with no sentinel: the head points at the first element, whose prev is the last. An element is on one list
// at most, and whoever guards the list guards the two fields.
#ifndef TRI_ALLOC_BASE_LIST_H
#define TRI_ALLOC_BASE_LIST_H

#include "alloc/base/check.h"

namespace tri {

template <class T>
class List {
 public:
  bool empty() const { return head_ == nullptr; }
  T* front() const { return head_; }
  T* back() const { return head_ == nullptr ? nullptr : head_->prev; }

  void push_front(T* t) {
    push_back(t);
    head_ = t;
  }

  void push_back(T* t) {
    TRI_ASSERT(t->next == nullptr);
    TRI_ASSERT(t->prev == nullptr);
    if (head_ == nullptr) {
      t->next = t->prev = t;
      head_ = t;
      return;
    }
    t->next = head_;
    t->prev = head_->prev;
    t->prev->next = t;
    head_->prev = t;
  }

  void remove(T* t) {
    TRI_ASSERT(t->next != nullptr);
    if (t->next == t) {
      TRI_ASSERT(head_ == t);
      head_ = nullptr;
    } else {
      t->next->prev = t->prev;
      t->prev->next = t->next;
      if (head_ == t) head_ = t->next;
    }
    t->next = t->prev = nullptr;
  }

  /// Takes over all elements of another list, behind those of this one. O(1).
  void append(List& other) {
    if (other.head_ == nullptr) return;
    if (head_ == nullptr) {
      head_ = other.head_;
    } else {
      T* const last = head_->prev;
      T* const others_last = other.head_->prev;
      last->next = other.head_;
      other.head_->prev = last;
      others_last->next = head_;
      head_->prev = others_last;
    }
    other.head_ = nullptr;
  }

  T* pop_front() {
    T* t = head_;
    if (t != nullptr) remove(t);
    return t;
  }

  /// Calls fn on each element; fn must not change the list.
  template <class Fn>
  void each(Fn&& fn) const {
    if (head_ == nullptr) return;
    T* t = head_;
    do {
      fn(t);
      t = t->next;
    } while (t != head_);
  }

  /// Forgets the elements without touching them: for a forked child, where the links cannot be trusted.
  void abandon() { head_ = nullptr; }

 private:
  T* head_ = nullptr;
};

}  // namespace tri

#endif
