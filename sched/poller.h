// poller.h - What the netpoller asks of the operating system: a set of descriptors, and to sleep until one of them becomes ready.
//
// Edge-triggered: each change to readiness is reported once, to one of the threads that wait. A descriptor is registered
// once, for both directions. Nothing here touches errno or allocates.
//
// Used by: netpoll, descriptor. Implemented in os/linux/epoll.cc.
#ifndef TRI_SCHED_POLLER_H
#define TRI_SCHED_POLLER_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sched/wait.h"

namespace tri::sched {

struct PollEvent {
  int fd;
  uint32_t generation;
  uint32_t events;  // of PollDesc::Event
};

class Poller {
 public:
  constexpr Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  bool is_open() const { return epoll_.load(std::memory_order_acquire) >= 0; }
  /// Opens it if it is not. 0, -EMFILE, -ENFILE, -ENOMEM, -ENOSYS. Any thread.
  int open();
  /// Registers fd; what is ready already is reported as well. 0; 1 if it was registered, with the generation as it was then; -EPERM: cannot be
  /// polled, as a regular file; -EBADF; -ENOSPC: the user's bound of registrations; -ENOMEM. Any thread.
  int add(int fd, uint32_t generation);
  /// Changes the generation of a registered descriptor, and reports what is ready. Errors as add(), and -ENOENT.
  int change(int fd, uint32_t generation);
  /// Nothing more is reported of fd. Not being registered is no error.
  void remove(int fd);
  /// Fills `out`, which holds `capacity` entries; waits for the first until `until`. 0 after that moment, a signal, or interrupt().
  /// One thread may wait with a time at once; others may call with kNoWait, and do not see interrupt()s.
  size_t wait(PollEvent* out, size_t capacity, Time until);
  /// Makes a wait() with a time return, now or the next. Any thread, a signal's handler as well.
  void interrupt();
  /// In a forked child only: closes this process's descriptors, which it shares with the parent.
  void reset_after_fork();

 private:
  std::atomic<int> epoll_{-1};
  std::atomic<int> wake_{-1};             // an eventfd
  std::atomic<bool> interrupted_{false};  // wake_ has been written, and not yet read
};

}  // namespace tri::sched

#endif
