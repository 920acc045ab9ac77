// descriptor.h - Reading and writing descriptors: the system call first; would it block, the caller waits, and tries again.
//
// Works on ordinary integer descriptors. The first call on one looks at what it is, once: sockets, pipes and the like become
// non-blocking; regular files go by the blocking path. What this library has made itself it knows already.
//
// All functions return >= 0 or -errno, and leave errno alone. A deadline of kNoWait makes a call a try: -EAGAIN. EINTR is met by
// trying again.
//
// Used by: socket, netpoll, shim.
#ifndef TRI_SCHED_DESCRIPTOR_H
#define TRI_SCHED_DESCRIPTOR_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "sched/poll_desc.h"
#include "sched/wait.h"

namespace tri::sched {

// ---- the life of a descriptor ---------------------------------------------------------------------------------

/// The record of fd, after a look at fd if it is new. 0, -EBADF, -EMFILE (beyond the table), -ENOMEM. May fail as fstat(2) may.
[[nodiscard]] int use_descriptor(int fd, PollDesc** out);
/// Takes fd, which the kernel has just given us, non-blocking, into the table. Returns fd; on failure closes it and returns -errno.
[[nodiscard]] int adopt_descriptor(int fd, FdKind kind, bool tcp);
/// Forgets what is known of fd, and wakes its waiters with -EBADF; the descriptor stays open. 0 or -EBADF.
int detach_descriptor(int fd);
/// detach_descriptor() and close(2).
int close_descriptor(int fd);

// ---- waiting --------------------------------------------------------------------------------------------------

/// Whether one of poll(2)'s events is there now: those that are, or 0, or -EBADF.
int poll_now(int fd, int events);
/// Waits for poll(2)'s events. Those that are there; -EAGAIN, -ETIMEDOUT, ...
int poll_descriptor(int fd, int events, Time deadline);
/// Sleeps until an edge after `stamp`. 0: try the call again.
int wait_for_edge(int fd, PollDesc* d, bool write, Stamp stamp, Time deadline);

/// Calls `call(d)`, a system call that gives a result or -errno, until it neither would block nor was interrupted.
template <class Call>
long when_ready(int fd, PollDesc* d, bool write, Time deadline, Call call) {
  for (;;) {
    const Stamp stamp = d->side(write).stamp();
    const long result = call();
    if (__builtin_expect(result >= 0, 1)) return result;
    if (result == -EINTR) continue;
    if (result != -EAGAIN) return result;
    const int woken = wait_for_edge(fd, d, write, stamp, deadline);
    if (woken < 0) return woken;
  }
}

// ---- the calls ------------------------------------------------------------------------------------------------

ssize_t read_some(int fd, void* buffer, size_t n, Time deadline);
ssize_t write_some(int fd, const void* data, size_t n, Time deadline);
ssize_t read_vector(int fd, const iovec* vector, int count, Time deadline);
ssize_t write_vector(int fd, const iovec* vector, int count, Time deadline);
/// Until n bytes or the end of the stream; how many.
ssize_t read_full(int fd, void* buffer, size_t n, Time deadline);
ssize_t write_all(int fd, const void* data, size_t n, Time deadline);
ssize_t receive(int fd, void* buffer, size_t n, int flags, sockaddr* from, socklen_t* from_length, Time deadline);
ssize_t send(int fd, const void* data, size_t n, int flags, const sockaddr* to, socklen_t to_length, Time deadline);
ssize_t receive_message(int fd, msghdr* message, int flags, Time deadline);
ssize_t send_message(int fd, const msghdr* message, int flags, Time deadline);
ssize_t send_file(int out, int in, off_t* offset, size_t n, Time deadline);

}  // namespace tri::sched

#endif
