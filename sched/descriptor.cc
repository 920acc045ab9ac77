// descriptor.cc - See descriptor.h.
#include "sched/descriptor.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "alloc/base/check.h"
#include "alloc/base/sys.h"
#include "sched/fiber.h"
#include "sched/g.h"
#include "sched/m.h"
#include "sched/netpoll.h"
#include "sched/syscall.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

long address(const void* p) { return reinterpret_cast<long>(p); }

// Makes the Gs of a list ready.
void ready_all(const ClaimedList& list) {
  for (G* g = list.first; g != nullptr;) {
    G* const next = g->next_claimed;
    ready(g, g->result);
    g = next;
  }
}

// Finds out what fd is, and makes it non-blocking unless it must not be.
int look_at(int fd, FdKind* kind) {
  const long flags = arch::system_call(SYS_fcntl, fd, F_GETFL);
  if (flags < 0) return static_cast<int>(flags);
  struct stat s;
  const long r = arch::system_call(SYS_fstat, fd, address(&s));
  if (r < 0) return static_cast<int>(r);
  if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode) || S_ISBLK(s.st_mode)) {
    *kind = FdKind::kFile;
    return 0;
  }
  *kind = S_ISSOCK(s.st_mode) ? FdKind::kSocket : FdKind::kPollable;
  if ((flags & O_NONBLOCK) != 0) return 0;
  if (fd <= 2 && *kind == FdKind::kPollable) {
    // O_NONBLOCK belongs to the open file, which the standard streams share with the shell and with other programs: their output would
    // get lost, and so would our own through stdio.
    *kind = FdKind::kShared;
    return 0;
  }
  return static_cast<int>(arch::system_call(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK));
}

// A call that blocks its thread, without the processor.
template <class Call>
long blocking_call(Call call) {
  blocking_begin();
  long result;
  do {
    result = call();
  } while (result == -EINTR);
  blocking_end();
  return result;
}

// A call on a descriptor of any kind.
template <class Call>
long any_call(int fd, bool write, Time deadline, Call call) {
  PollDesc* d;
  if (const int r = use_descriptor(fd, &d); TRI_UNLIKELY(r < 0)) return r;
  const FdKind kind = d->kind();
  if (TRI_LIKELY(kind == FdKind::kSocket || kind == FdKind::kPollable)) {
    return when_ready(fd, d, write, deadline, [&] { return call(kind); });
  }
  if (kind == FdKind::kShared) {
    const int r = poll_descriptor(fd, write ? POLLOUT : POLLIN, deadline);
    if (r < 0) return r;
  }
  return blocking_call([&] { return call(kind); });
}

// While tri_close() is in close(2), the number may be somebody's again already: he waits until the record is his, too. A few
// microseconds, unless the socket lingers.
void wait_until_closed(const PollDesc* d) {
  while (d->kind() == FdKind::kClosing) sys::yield();
}

[[gnu::noinline, gnu::cold]] int use_new_descriptor(int fd, PollDesc** out) {
  PollDesc* d;
  if (const int r = get_poll_desc(fd, &d); r < 0) return r;
  wait_until_closed(d);
  const uint32_t generation = d->generation();
  FdKind kind = FdKind::kUnknown;
  if (const int r = look_at(fd, &kind); r < 0) return r;
  ClaimedList none;
  d->lock();
  int result = 0;
  if (d->generation() == generation && d->kind() == FdKind::kUnknown) {
    (void)d->renew_locked(kind, false, false, &none);  // nobody waits on an unknown descriptor
  } else if (!d->is_in_use_locked()) {
    result = -EBADF;  // closed since the look: what was seen is of another one
  }
  d->unlock();
  TRI_ASSERT(none.first == nullptr);
  *out = d;
  return result;
}

}  // namespace

// ---- the life of a descriptor ---------------------------------------------------------------------------------

int use_descriptor(int fd, PollDesc** out) {
  PollDesc* const d = find_poll_desc(fd);
  if (TRI_LIKELY(d != nullptr)) {
    const FdKind kind = d->kind();
    if (TRI_LIKELY(kind != FdKind::kUnknown && kind != FdKind::kClosing)) {
      *out = d;
      return 0;
    }
  }
  return use_new_descriptor(fd, out);
}

int adopt_descriptor(int fd, FdKind kind, bool tcp) {
  PollDesc* d;
  if (const int r = get_poll_desc(fd, &d); r < 0) {
    arch::system_call(SYS_close, fd);
    return r;
  }
  ClaimedList woken;
  d->lock();
  // Who still waits here waits for a descriptor that was closed behind our back.
  PollWaiter* const to_free = d->renew_locked(kind, true, tcp, &woken);
  d->unlock();
  free_poll_waiters(to_free);
  ready_all(woken);
  return fd;
}

namespace {

// Ends what is known of fd. While the number is not free yet, the record is kClosing: a call that is late gets -EBADF, and
// does not begin to wait for what is about to be closed.
int forget(int fd, bool close) {
  if (fd < 0) return -EBADF;
  // A number that nobody has used has a record from now on, too: who begins to use it at this moment must see that it is being closed.
  PollDesc* d;
  if (get_poll_desc(fd, &d) < 0) d = nullptr;  // no memory, for him neither; or no descriptor
  ClaimedList woken;
  bool known = false;
  uint32_t generation = 0;
  if (d != nullptr) {
    wait_until_closed(d);
    d->lock();
    known = d->is_in_use_locked();
    const bool registered = d->is_registered_locked(0) || d->is_registered_locked(1);
    PollWaiter* const to_free = d->renew_locked(FdKind::kClosing, false, false, &woken);
    generation = d->generation();
    d->unlock();
    free_poll_waiters(to_free);
    // Closing the last descriptor of a file takes it out of epoll, but this need not be the last.
    if (registered) netpoll_unregister(fd);
  }
  long r = 0;
  if (close) {
    r = arch::system_call(SYS_close, fd);
    if (r == -EINTR) r = 0;  // Linux has closed it all the same
  } else if (!known) {
    r = arch::system_call(SYS_fcntl, fd, F_GETFD);
    if (r > 0) r = 0;
  }
  if (d != nullptr) {
    d->lock();
    // Unless the number has been adopted meanwhile.
    if (d->generation() == generation) d->set_kind_locked(FdKind::kUnknown);
    d->unlock();
  }
  ready_all(woken);
  return static_cast<int>(r);
}

}  // namespace

int detach_descriptor(int fd) { return forget(fd, false); }
int close_descriptor(int fd) { return forget(fd, true); }

// ---- waiting --------------------------------------------------------------------------------------------------

int poll_now(int fd, int events) {
  pollfd p = {fd, static_cast<short>(events), 0};
  const timespec no_time = {0, 0};
  const long r = arch::system_call(SYS_ppoll, address(&p), 1, address(&no_time), 0, 0);
  if (r == -EINTR) return 0;
  if (r < 0) return static_cast<int>(r);
  if ((p.revents & POLLNVAL) != 0) return -EBADF;
  return p.revents;
}

// Takes d's lock, and sees to it that edges reach g. Negative errno: without the lock.
[[gnu::noinline]] static int lock_settled(int fd, PollDesc* d, Stamp stamp, const G* g) {
  if (g == nullptr) return -ENOMEM;
  if (const int r = netpoll_prepare(g); r < 0) return r;
  d->lock();
  // Under the lock, which closing takes as well: what is registered has not been closed.
  const bool same = stamp_generation(stamp) == d->generation() && d->is_in_use_locked();
  const int r = same ? netpoll_register_locked(fd, d, g) : -EBADF;
  if (r < 0) d->unlock();
  return r;
}

// In a critical section, so that the P stays ours. Not where races are reported: it reads fields of goroutines that a thief may run by now.
static inline void prefetch_soon_to_run() {
  if constexpr (!fiber::kRacesAreReported) {
    const M* const m = current_m();
    if (m != nullptr && m->p != nullptr) m->p->runq.prefetch();
  }
}

int wait_for_edge(int fd, PollDesc* d, bool write, Stamp stamp, Time deadline) {
  if (deadline == kNoWait) return -EAGAIN;
  G* const g = current();
  if (TRI_LIKELY(g != nullptr)) {
    d->lock();
    if (TRI_LIKELY(d->is_settled_locked(poller_of(g)))) {
      prefetch_soon_to_run();
      return d->wait_locked(write, stamp, g, deadline);
    }
    d->unlock();
  }
  if (const int r = lock_settled(fd, d, stamp, g); r < 0) return r;
  return d->wait_locked(write, stamp, g, deadline);
}

int poll_descriptor(int fd, int events, Time deadline) {
  PollDesc* d;
  if (const int r = use_descriptor(fd, &d); r < 0) return r;
  uint32_t sides = 0;
  if ((events & ~POLLOUT) != 0 || events == 0) sides |= PollDesc::kReadable;
  if ((events & POLLOUT) != 0) sides |= PollDesc::kWritable;
  for (;;) {
    const Stamp read = d->side(false).stamp();
    const Stamp write = d->side(true).stamp();
    if (const int r = poll_now(fd, events); r != 0) return r;
    int r;
    if (sides != (PollDesc::kReadable | PollDesc::kWritable)) {
      const bool is_write = sides == PollDesc::kWritable;
      r = wait_for_edge(fd, d, is_write, is_write ? write : read, deadline);
    } else if (deadline == kNoWait) {
      r = -EAGAIN;
    } else {
      G* const g = current();
      r = lock_settled(fd, d, read, g);
      if (r == 0) r = d->wait_both_locked(read, write, g, deadline);
    }
    if (r < 0) return r;
  }
}

// ---- reading --------------------------------------------------------------------------------------------------

// Of each call on a socket. The descriptor is non-blocking; but its number may be that of another one by now, if the program closed it
// by close(2) and opened another, which nobody has looked at. That must not block the thread, out of tri_close()'s reach.
constexpr int kNeverBlock = MSG_DONTWAIT;
constexpr int kSend = MSG_NOSIGNAL | kNeverBlock;

// Far more than any call transfers, and within what the kernel takes as a length.
constexpr size_t kMost = SSIZE_MAX;

ssize_t read_some(int fd, void* buffer, size_t n, Time deadline) {
  if (n > kMost) n = kMost;
  PollDesc* d;
  if (const int r = use_descriptor(fd, &d); TRI_UNLIKELY(r < 0)) return r;
  if (TRI_UNLIKELY(d->kind() != FdKind::kSocket)) {
    return any_call(fd, false, deadline,
                    [=](FdKind) { return arch::system_call(SYS_read, fd, address(buffer), static_cast<long>(n)); });
  }
  for (;;) {
    const Stamp stamp = d->side(false).stamp();
    // A try asks the kernel in any case: perhaps nobody polls between two of them.
    if (!d->is_drained(stamp) || deadline == kNoWait || n == 0) {
      const long r = arch::system_call(SYS_recvfrom, fd, address(buffer), static_cast<long>(n), kNeverBlock, 0, 0);
      if (TRI_LIKELY(r >= 0)) {
        if (static_cast<size_t>(r) < n && r != 0 && d->short_read_means_empty()) d->set_drained(stamp);
        return r;
      }
      if (r == -EINTR) continue;
      if (r != -EAGAIN) return r;
    }
    if (const int r = wait_for_edge(fd, d, false, stamp, deadline); r < 0) return r;
  }
}

ssize_t read_vector(int fd, const iovec* vector, int count, Time deadline) {
  return any_call(fd, false, deadline,
                  [=](FdKind) { return arch::system_call(SYS_readv, fd, address(vector), count); });
}

ssize_t read_full(int fd, void* buffer, size_t n, Time deadline) {
  size_t done = 0;
  while (done < n) {
    const ssize_t r = read_some(fd, static_cast<char*>(buffer) + done, n - done, deadline);
    if (r < 0) return r;
    if (r == 0) break;
    done += static_cast<size_t>(r);
  }
  return static_cast<ssize_t>(done);
}

ssize_t receive(int fd, void* buffer, size_t n, int flags, sockaddr* from, socklen_t* from_length, Time deadline) {
  return any_call(fd, false, deadline, [=](FdKind) {
    return arch::system_call(SYS_recvfrom, fd, address(buffer), static_cast<long>(n < kMost ? n : kMost),
                             flags | kNeverBlock, address(from), address(from_length));
  });
}

ssize_t receive_message(int fd, msghdr* message, int flags, Time deadline) {
  return any_call(fd, false, deadline,
                  [=](FdKind) { return arch::system_call(SYS_recvmsg, fd, address(message), flags | kNeverBlock); });
}

// ---- writing --------------------------------------------------------------------------------------------------

ssize_t write_some(int fd, const void* data, size_t n, Time deadline) {
  if (n > kMost) n = kMost;
  return any_call(fd, true, deadline, [=](FdKind kind) {
    // A closed connection is an error to handle, not the end of the program.
    return kind == FdKind::kSocket ? arch::system_call(SYS_sendto, fd, address(data), static_cast<long>(n), kSend, 0, 0)
                                   : arch::system_call(SYS_write, fd, address(data), static_cast<long>(n));
  });
}

ssize_t write_vector(int fd, const iovec* vector, int count, Time deadline) {
  if (count < 0) return -EINVAL;
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vector);
  message.msg_iovlen = static_cast<size_t>(count);
  return any_call(fd, true, deadline, [=, &message](FdKind kind) {
    return kind == FdKind::kSocket ? arch::system_call(SYS_sendmsg, fd, address(&message), kSend)
                                   : arch::system_call(SYS_writev, fd, address(vector), count);
  });
}

ssize_t write_all(int fd, const void* data, size_t n, Time deadline) {
  size_t done = 0;
  while (done < n) {
    const ssize_t r = write_some(fd, static_cast<const char*>(data) + done, n - done, deadline);
    if (r < 0) return r;
    done += static_cast<size_t>(r);
  }
  return static_cast<ssize_t>(done);
}

ssize_t send(int fd, const void* data, size_t n, int flags, const sockaddr* to, socklen_t to_length, Time deadline) {
  return any_call(fd, true, deadline, [=](FdKind) {
    return arch::system_call(SYS_sendto, fd, address(data), static_cast<long>(n < kMost ? n : kMost), flags | kSend,
                             address(to), static_cast<long>(to_length));
  });
}

ssize_t send_message(int fd, const msghdr* message, int flags, Time deadline) {
  return any_call(fd, true, deadline,
                  [=](FdKind) { return arch::system_call(SYS_sendmsg, fd, address(message), flags | kSend); });
}

// One sendfile(2). It has no flag against SIGPIPE: blocked for the time of the call, the signal is taken back if it came from there.
static long send_file_once(int out, int in, off_t* offset, size_t n) {
  constexpr uint64_t kPipe = uint64_t{1} << (SIGPIPE - 1);
  uint64_t pending = 0;
  uint64_t before = 0;
  arch::system_call(SYS_rt_sigpending, address(&pending), sizeof pending);
  arch::system_call(SYS_rt_sigprocmask, SIG_BLOCK, address(&kPipe), address(&before), sizeof before);
  const long r = arch::system_call(SYS_sendfile, out, in, address(offset), static_cast<long>(n < kMost ? n : kMost));
  if (r == -EPIPE && (pending & kPipe) == 0) {
    const timespec no_time = {0, 0};
    arch::system_call(SYS_rt_sigtimedwait, address(&kPipe), 0, address(&no_time), sizeof kPipe);
  }
  arch::system_call(SYS_rt_sigprocmask, SIG_SETMASK, address(&before), 0, sizeof before);
  return r;
}

ssize_t send_file(int out, int in, off_t* offset, size_t n, Time deadline) {
  return any_call(out, true, deadline, [=](FdKind kind) {
    if (kind != FdKind::kSocket && kind != FdKind::kPollable) return send_file_once(out, in, offset, n);
    blocking_begin();  // it may read from a disk
    const long r = send_file_once(out, in, offset, n);
    blocking_end();
    return r;
  });
}

}  // namespace tri::sched
