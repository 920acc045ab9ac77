// tri.hpp - Optional C++ over tri.h: lambdas for goroutines, typed channels, guards. Header-only; C++17 or later.
//
// It adds no state: a chan<T> is a reference to a tri_chan, a mutex is a tri_mutex. Nothing here throws but std::bad_alloc, where
// a constructor has no other way to say it.
#ifndef TRI_HPP
#define TRI_HPP

#include <cerrno>
#include <cstdint>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "tri.h"

namespace tri {

/// Runs a callable in a goroutine; it is moved there. 0 or a negative errno, and then it has not run. An exception that leaves
/// it ends the program.
template <class Fn>
[[nodiscard]] int go(Fn&& fn) {
  using Callable = std::decay_t<Fn>;
  auto* const copy = new (std::nothrow) Callable(std::forward<Fn>(fn));
  if (copy == nullptr) return -ENOMEM;
  const int error = tri_go(
      [](void* p) noexcept {
        // tri_exit() inside of it runs no destructors: as longjmp() would, it leaves behind what it holds.
        Callable* const callable = static_cast<Callable*>(p);
        (*callable)();
        delete callable;
      },
      copy);
  if (error != 0) delete copy;
  return error;
}

/// A channel of values that may be copied as bytes. Copies of it are references to the same channel.
template <class T>
class chan {
  static_assert(std::is_trivially_copyable_v<T>, "values pass as bytes; send a pointer to anything else");

 public:
  explicit chan(std::size_t capacity = 0) : c_(tri_chan_new(sizeof(T), capacity)) {
    if (c_ == nullptr) throw std::bad_alloc();
  }
  chan(const chan& other) : c_(tri_chan_ref(other.c_)) {}
  chan(chan&& other) noexcept : c_(std::exchange(other.c_, nullptr)) {}
  chan& operator=(chan other) noexcept {
    std::swap(c_, other.c_);
    return *this;
  }
  ~chan() { tri_chan_unref(c_); }

  /// As tri_chan_send().
  [[nodiscard]] int send(const T& value, tri_time deadline = TRI_FOREVER) const {
    return tri_chan_send(c_, &value, deadline);
  }
  /// As tri_chan_recv().
  [[nodiscard]] int recv(T& value, tri_time deadline = TRI_FOREVER) const {
    return tri_chan_recv(c_, &value, deadline);
  }
  /// The next value; none when the channel is closed and empty, or the deadline has passed, or the wait was cancelled.
  [[nodiscard]] std::optional<T> recv(tri_time deadline = TRI_FOREVER) const {
    std::optional<T> value(std::in_place);
    if (recv(*value, deadline) != 0) value.reset();
    return value;
  }
  void close() const { tri_chan_close(c_); }
  std::size_t size() const { return tri_chan_len(c_); }
  std::size_t capacity() const { return tri_chan_cap(c_); }

  /// Cases for tri_select(); the value or variable must live until it returns.
  tri_case on_send(const T& value) const { return TRI_SEND(c_, const_cast<T*>(&value)); }
  tri_case on_recv(T& value) const { return TRI_RECV(c_, &value); }
  tri_chan* get() const { return c_; }

  /// for (T value : channel): until it is closed, or the wait was cancelled.
  class iterator {
   public:
    iterator() = default;
    explicit iterator(const chan* c) : c_(c) { ++*this; }
    T& operator*() { return *value_; }
    iterator& operator++() {
      value_ = c_->recv();
      return *this;
    }
    friend bool operator!=(const iterator& a, const iterator& b) {
      return a.value_.has_value() != b.value_.has_value();
    }

   private:
    const chan* c_ = nullptr;
    std::optional<T> value_;
  };
  iterator begin() const { return iterator(this); }
  iterator end() const { return iterator(); }

 private:
  tri_chan* c_;
};

/// A tri_mutex with the names of the standard library's: for std::lock_guard, std::unique_lock, std::scoped_lock.
class mutex {
 public:
  constexpr mutex() = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  void lock() { tri_mutex_lock(&m_); }
  bool try_lock() { return tri_mutex_lock_until(&m_, 0) == 0; }
  void unlock() { tri_mutex_unlock(&m_); }
  tri_mutex* get() { return &m_; }

 private:
  tri_mutex m_ = {};
};

/// Locks for the time of a scope, without a header of the standard library's.
class mutex_guard {
 public:
  explicit mutex_guard(mutex& m) : m_(m) { m_.lock(); }
  ~mutex_guard() { m_.unlock(); }
  mutex_guard(const mutex_guard&) = delete;
  mutex_guard& operator=(const mutex_guard&) = delete;

 private:
  mutex& m_;
};

/// Tasks that have all ended when it goes out of scope.
class scope {
 public:
  scope() = default;
  /// With a context of its own below `parent`, and at most `limit` tasks at once (0: any number).
  explicit scope(tri_ctx* parent, tri_time deadline = TRI_FOREVER, std::uint32_t limit = 0) {
    if (tri_scope_open(&s_, parent, deadline, limit) != 0) throw std::bad_alloc();
  }
  ~scope() { (void)wait(); }
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// Starts a callable, which returns an int, 0 for success, or nothing. As tri_scope_go().
  template <class Fn>
  [[nodiscard]] int go(Fn&& fn, tri_time deadline = TRI_FOREVER) {
    using Callable = std::decay_t<Fn>;
    auto* const copy = new (std::nothrow) Callable(std::forward<Fn>(fn));
    if (copy == nullptr) return -ENOMEM;
    const int error = tri_scope_go(
        &s_,
        [](void* p) noexcept -> int {
          Callable* const callable = static_cast<Callable*>(p);
          int result = 0;
          if constexpr (std::is_void_v<decltype((*callable)())>) {
            (*callable)();
          } else {
            result = (*callable)();
          }
          delete callable;
          return result;
        },
        copy, deadline);
    if (error != 0) delete copy;
    return error;
  }
  /// Waits for all; 0, or what the first that failed returned.
  int wait() {
    (void)!tri_scope_wait(&s_, TRI_FOREVER);
    return tri_scope_error(&s_);
  }
  void cancel() { tri_scope_cancel(&s_); }
  tri_ctx* context() { return tri_scope_ctx(&s_); }

 private:
  tri_scope s_ = {};
};

}  // namespace tri

#endif
