// context.cc - See context.h.
#include "sched/context.h"

#include <cerrno>
#include <new>

#include "alloc/malloc.h"
#include "sched/fatal.h"

namespace tri::sched {

Context* Context::create(Context* parent, Time deadline, const void* key, void* value) {
  void* const memory = allocate(sizeof(Context));
  if (memory == nullptr) return nullptr;
  if (parent != nullptr && parent->deadline_ < deadline) deadline = parent->deadline_;
  Context* const c = ::new (memory) Context(parent, deadline, key, value);
  if (parent == nullptr) {
    c->tree_ = &c->own_tree_;
    return c;
  }
  parent->ref();
  c->tree_ = parent->tree_;
  c->tree_->lock();
  // Under the lock of the tree, so that a cancellation of the parent either finds the child or is seen by it.
  if (parent->cancelled_.load(std::memory_order_relaxed)) c->cancelled_.store(true, std::memory_order_relaxed);
  parent->children_.push_back(c);
  c->tree_->unlock();
  return c;
}

void Context::ref() { references_.fetch_add(1, std::memory_order_relaxed); }

void Context::unref() {
  // A loop, not recursion: a chain of contexts may be long.
  for (Context* c = this; c != nullptr;) {
    // acq_rel: what the other holders did happens before the free.
    if (c->references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (!c->waits_.empty()) fatal("last reference given up while somebody waits on context", c);
    Context* const parent = c->parent_;
    if (parent != nullptr) {
      c->tree_->lock();
      parent->children_.remove(c);
      c->tree_->unlock();
    }
    TRI_ASSERT(c->children_.empty());  // each of them would hold a reference
    c->~Context();
    deallocate(c);
    c = parent;
  }
}

// The next in a walk of the tree below `top`, parents first; null at its end. With the tree's lock held.
Context* Context::next_in_tree(const Context* top) const {
  if (!children_.empty()) return children_.front();
  for (const Context* c = this; c != top; c = c->parent_) {
    if (c != c->parent_->children_.back()) return c->next;
  }
  return nullptr;
}

void Context::cancel() {
  if (cancelled_.load(std::memory_order_acquire)) return;
  ContextWait* claimed = nullptr;
  ContextWait** last = &claimed;
  // Whoever cancels does not wait under the context that it cancels.
  tree_->lock();
  for (Context* c = this; c != nullptr; c = c->next_in_tree(this)) {
    SpinGuard guard(c->lock_);
    // release: pairs with the acquire in error() and enter().
    c->cancelled_.store(true, std::memory_order_release);
    while (ContextWait* const w = c->waits_.pop_front()) {
      if (!claim(w->g, w->id)) continue;
      *last = w;
      last = &w->next;
    }
  }
  tree_->unlock();
  *last = nullptr;
  // A wait that was claimed stands where it is until ready().
  for (ContextWait* w = claimed; w != nullptr;) {
    ContextWait* const following = w->next;
    w->next = nullptr;
    ready(w->g, w->result);
    w = following;
  }
}

int Context::error() const {
  if (cancelled_.load(std::memory_order_acquire)) return -ECANCELED;
  return deadline_ != kForever && now() >= deadline_ ? -ETIMEDOUT : 0;
}

void* Context::value(const void* key) const {
  if (key == nullptr) return nullptr;
  for (const Context* c = this; c != nullptr; c = c->parent_) {
    if (c->key_ == key) return c->value_;
  }
  return nullptr;
}

bool Context::enter(ContextWait* w) {
  SpinGuard guard(lock_);
  if (cancelled_.load(std::memory_order_relaxed)) return false;
  waits_.push_back(w);
  return true;
}

void Context::leave(ContextWait* w) {
  SpinGuard guard(lock_);
  if (w->prev != nullptr) waits_.remove(w);
}

int Context::wait(Time deadline) {
  if (error() != 0) return 0;
  if (deadline <= kNoWait) return -EAGAIN;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  ContextWait w;
  w.g = g;
  w.id = begin_wait(g);
  w.result = 0;
  if (!enter(&w)) return 0;
  const int result = park(WaitReason::kContext, nullptr, deadline < deadline_ ? deadline : deadline_);
  leave(&w);
  return result != 0 && error() != 0 ? 0 : result;
}

Context* attach_context(Context* context) {
  G* const g = current();
  if (g == nullptr) return nullptr;
  Context* const before = g->context;
  g->context = context;
  return before;
}

Context* attached_context() {
  G* const g = current();
  return g == nullptr ? nullptr : g->context;
}

}  // namespace tri::sched
