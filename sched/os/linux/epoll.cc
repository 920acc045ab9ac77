// epoll.cc - Poller on epoll(7). See poller.h.
#include <errno.h>
#include <linux/time_types.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "alloc/base/check.h"
#include "sched/poll_desc.h"
#include "sched/poller.h"
#include "tri_arch.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441  // the same on every processor
#endif

namespace tri::sched {
namespace {

// EPOLLPRI too: urgent data ends a read early, and what follows it brings no edge.
constexpr uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
constexpr uint64_t kWakeToken = UINT64_MAX;  // no descriptor has the number -1

// 128 events are 1.5 KiB of stack; more are left for the next call, which epoll serves in turn.
constexpr size_t kBatch = 128;

constinit std::atomic<bool> has_pwait2{true};

uint64_t token(int fd, uint32_t generation) { return uint64_t{generation} << 32 | static_cast<uint32_t>(fd); }

long control(int epoll, int operation, int fd, uint32_t interest, uint64_t data) {
  epoll_event event{};
  event.events = interest;
  event.data.u64 = data;
  return arch::system_call(SYS_epoll_ctl, epoll, operation, fd, reinterpret_cast<long>(&event));
}

void close_fd(int fd) { arch::system_call(SYS_close, fd); }

// What epoll says, in the terms of PollDesc. An error or a hang-up ends both directions: each side's next call meets it.
uint32_t translate(uint32_t e) {
  uint32_t events = 0;
  if ((e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0) events |= PollDesc::kReadable;
  if ((e & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) events |= PollDesc::kWritable;
  if ((e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0) events |= PollDesc::kHangUp;
  return events;
}

// epoll_pwait2() takes nanoseconds (Linux 5.11); before it, milliseconds, rounded up: early would mean polling again and again.
long wait_for_events(int epoll, epoll_event* events, int capacity, Time until) {
  if (until == kNoWait) return arch::system_call(SYS_epoll_pwait, epoll, reinterpret_cast<long>(events), capacity, 0);
  Time left = kForever;
  if (until != kForever) {
    left = until - now();
    if (left < 0) left = 0;
  }
  if (has_pwait2.load(std::memory_order_relaxed)) {
    __kernel_timespec timeout{};
    timeout.tv_sec = left / 1'000'000'000;
    timeout.tv_nsec = left % 1'000'000'000;
    const long n = arch::system_call(SYS_epoll_pwait2, epoll, reinterpret_cast<long>(events), capacity,
                                     left == kForever ? 0 : reinterpret_cast<long>(&timeout));
    // EPERM: what older containers answer to system calls that they do not know.
    if (n != -ENOSYS && n != -EPERM) return n;
    has_pwait2.store(false, std::memory_order_relaxed);
  }
  constexpr Time kMillisecond = 1'000'000;
  constexpr Time kLongest = INT32_MAX;
  const Time ms = left / kMillisecond + (left % kMillisecond != 0);
  const long timeout = left == kForever ? -1 : static_cast<long>(ms < kLongest ? ms : kLongest);
  return arch::system_call(SYS_epoll_pwait, epoll, reinterpret_cast<long>(events), capacity, timeout);
}

}  // namespace

int Poller::open() {
  if (is_open()) return 0;
  const long epoll = arch::system_call(SYS_epoll_create1, EPOLL_CLOEXEC);
  if (epoll < 0) return static_cast<int>(epoll);
  const long wake = arch::system_call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
  // Level-triggered: a poll that does not wait leaves it for the one that does.
  const long r =
      wake < 0 ? wake : control(static_cast<int>(epoll), EPOLL_CTL_ADD, static_cast<int>(wake), EPOLLIN, kWakeToken);
  if (r < 0) {
    close_fd(static_cast<int>(epoll));
    if (wake >= 0) close_fd(static_cast<int>(wake));
    return static_cast<int>(r);
  }
  // wake_ decides who of several threads opens it. A thread that loses must not go on before the winner is done.
  int none = -1;
  if (!wake_.compare_exchange_strong(none, static_cast<int>(wake), std::memory_order_relaxed)) {
    close_fd(static_cast<int>(epoll));
    close_fd(static_cast<int>(wake));
    while (!is_open()) arch::system_call(SYS_sched_yield);
    return 0;
  }
  // release: pairs with the acquire in is_open().
  epoll_.store(static_cast<int>(epoll), std::memory_order_release);
  return 0;
}

int Poller::add(int fd, uint32_t generation) {
  const long r = control(epoll_.load(std::memory_order_acquire), EPOLL_CTL_ADD, fd, kInterest, token(fd, generation));
  return r == -EEXIST ? 1 : static_cast<int>(r);
}

int Poller::change(int fd, uint32_t generation) {
  return static_cast<int>(
      control(epoll_.load(std::memory_order_acquire), EPOLL_CTL_MOD, fd, kInterest, token(fd, generation)));
}

void Poller::remove(int fd) {
  if (is_open()) control(epoll_.load(std::memory_order_acquire), EPOLL_CTL_DEL, fd, 0, 0);
}

size_t Poller::wait(PollEvent* out, size_t capacity, Time until) {
  epoll_event events[kBatch];
  const size_t most = capacity < kBatch ? capacity : kBatch;
  const long n = wait_for_events(epoll_.load(std::memory_order_acquire), events, static_cast<int>(most), until);
  if (n <= 0) {
    // A program that closes descriptors that are not its own (closefrom) would otherwise see us spin.
    const bool poller_is_intact = n != -EBADF && n != -EINVAL;
    TRI_CHECK(poller_is_intact);
    return 0;
  }
  size_t filled = 0;
  for (long i = 0; i < n; ++i) {
    const uint64_t data = events[i].data.u64;
    if (data == kWakeToken) {
      if (until == kNoWait) continue;
      uint64_t count;
      arch::system_call(SYS_read, wake_.load(std::memory_order_relaxed), reinterpret_cast<long>(&count), sizeof count);
      // After the read: an interrupt() between the two would find the flag set, write nothing, and be lost with the count; so it
      // only ends this wait, which it does. release: pairs with the exchange in interrupt().
      interrupted_.store(false, std::memory_order_release);
      continue;
    }
    out[filled++] = PollEvent{static_cast<int>(static_cast<uint32_t>(data)), static_cast<uint32_t>(data >> 32),
                              translate(events[i].events)};
  }
  return filled;
}

void Poller::interrupt() {
  if (!is_open()) return;
  // One write for any number of calls before the wait ends. acq_rel: pairs with the store in wait().
  if (interrupted_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  arch::system_call(SYS_write, wake_.load(std::memory_order_relaxed), reinterpret_cast<long>(&one), sizeof one);
}

void Poller::reset_after_fork() {
  const int epoll = epoll_.exchange(-1, std::memory_order_relaxed);
  const int wake = wake_.exchange(-1, std::memory_order_relaxed);
  if (epoll >= 0) close_fd(epoll);
  if (wake >= 0) close_fd(wake);
  interrupted_.store(false, std::memory_order_relaxed);
}

}  // namespace tri::sched
