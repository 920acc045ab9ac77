// socket.h - Making sockets, pipes and files that read and write as descriptor.h says, and connecting them.
//
// All return a descriptor (or 0) or -errno, and leave errno alone. New descriptors are non-blocking and close-on-exec.
//
// Used by: shim.
#ifndef TRI_SCHED_SOCKET_H
#define TRI_SCHED_SOCKET_H

#include <sys/socket.h>
#include <sys/types.h>

#include "sched/wait.h"

namespace tri::sched {

int listen_tcp(const char* host, int port, int backlog);
int listen_unix(const char* path, int backlog);
int dial_tcp(const char* host, int port, Time deadline);
int dial_unix(const char* path, Time deadline);
int udp(const char* host, int port);
int accept(int fd, sockaddr* from, socklen_t* from_length, Time deadline);
int connect(int fd, const sockaddr* to, socklen_t to_length, Time deadline);
int shutdown_descriptor(int fd, int how);
int make_pipe(int fds[2]);
int open_file(const char* path, int flags, unsigned mode);

}  // namespace tri::sched

#endif
