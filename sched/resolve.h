// resolve.h - The addresses of a host.
//
// libc's resolver blocks, cannot be interrupted, and wants a deep stack; so it runs on a thread of its own, and whoever asks waits like for
// anything else, until a deadline if he likes: the answer is then thrown away when it comes. Threads exist while there are requests,
// one for each up to a bound; what is more waits its turn. Addresses in numbers need none of that.
//
// Used by: socket, shim.
#ifndef TRI_SCHED_RESOLVE_H
#define TRI_SCHED_RESOLVE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "sched/wait.h"

namespace tri::sched {

inline constexpr int kMaxAddresses = 16;

/// Writes at most `capacity` addresses of the host, with the port, in the order of preference; returns how many (at least 1).
/// -ENOENT: no such host; -EHOSTUNREACH: the name servers do not answer; -EIO: they fail; -EINVAL; -ENAMETOOLONG; -ENOMEM;
/// -EAGAIN: no thread could be started; -ETIMEDOUT; -ECANCELED.
[[nodiscard]] int resolve(const char* host, int port, sockaddr_storage* out, int capacity, Time deadline);
socklen_t length_of(const sockaddr_storage& address);
/// In a forked child only.
void resolve_reset_after_fork();

}  // namespace tri::sched

#endif
