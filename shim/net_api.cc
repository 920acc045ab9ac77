// net_api.cc - The functions of tri/net.h.
#include "sched/descriptor.h"
#include "sched/resolve.h"
#include "sched/socket.h"
#include "shim/export.h"
#include "shim/include/tri/net.h"

using namespace tri;

TRI_EXPORT_BEGIN

int tri_poll(int fd, int events, tri_time deadline) { return sched::poll_descriptor(fd, events, deadline); }

ssize_t tri_read(int fd, void* buffer, size_t n, tri_time deadline) {
  return sched::read_some(fd, buffer, n, deadline);
}

ssize_t tri_write(int fd, const void* data, size_t n, tri_time deadline) {
  return sched::write_some(fd, data, n, deadline);
}

ssize_t tri_readv(int fd, const struct iovec* vector, int count, tri_time deadline) {
  return sched::read_vector(fd, vector, count, deadline);
}

ssize_t tri_writev(int fd, const struct iovec* vector, int count, tri_time deadline) {
  return sched::write_vector(fd, vector, count, deadline);
}

ssize_t tri_read_full(int fd, void* buffer, size_t n, tri_time deadline) {
  return sched::read_full(fd, buffer, n, deadline);
}

ssize_t tri_write_all(int fd, const void* data, size_t n, tri_time deadline) {
  return sched::write_all(fd, data, n, deadline);
}

ssize_t tri_recv(int fd, void* buffer, size_t n, int flags, tri_time deadline) {
  return sched::receive(fd, buffer, n, flags, nullptr, nullptr, deadline);
}

ssize_t tri_recvfrom(int fd, void* buffer, size_t n, int flags, struct sockaddr* from, socklen_t* from_length,
                     tri_time deadline) {
  return sched::receive(fd, buffer, n, flags, from, from_length, deadline);
}

ssize_t tri_recvmsg(int fd, struct msghdr* message, int flags, tri_time deadline) {
  return sched::receive_message(fd, message, flags, deadline);
}

ssize_t tri_send(int fd, const void* data, size_t n, int flags, tri_time deadline) {
  return sched::send(fd, data, n, flags, nullptr, 0, deadline);
}

ssize_t tri_sendto(int fd, const void* data, size_t n, int flags, const struct sockaddr* to, socklen_t to_length,
                   tri_time deadline) {
  return sched::send(fd, data, n, flags, to, to_length, deadline);
}

ssize_t tri_sendmsg(int fd, const struct msghdr* message, int flags, tri_time deadline) {
  return sched::send_message(fd, message, flags, deadline);
}

ssize_t tri_sendfile(int out, int in, off_t* offset, size_t n, tri_time deadline) {
  return sched::send_file(out, in, offset, n, deadline);
}

int tri_listen_tcp(const char* host, int port, int backlog) { return sched::listen_tcp(host, port, backlog); }

int tri_listen_unix(const char* path, int backlog) { return sched::listen_unix(path, backlog); }

int tri_dial_tcp(const char* host, int port, tri_time deadline) { return sched::dial_tcp(host, port, deadline); }

int tri_dial_unix(const char* path, tri_time deadline) { return sched::dial_unix(path, deadline); }

int tri_udp(const char* host, int port) { return sched::udp(host, port); }

int tri_accept(int fd, tri_time deadline) { return sched::accept(fd, nullptr, nullptr, deadline); }

int tri_accept_from(int fd, struct sockaddr* from, socklen_t* from_length, tri_time deadline) {
  return sched::accept(fd, from, from_length, deadline);
}

int tri_connect(int fd, const struct sockaddr* to, socklen_t to_length, tri_time deadline) {
  return sched::connect(fd, to, to_length, deadline);
}

int tri_pipe(int fds[2]) { return sched::make_pipe(fds); }

int tri_open(const char* path, int flags, mode_t mode) { return sched::open_file(path, flags, mode); }

int tri_resolve(const char* host, int port, struct sockaddr_storage* out, int capacity, tri_time deadline) {
  return sched::resolve(host, port, out, capacity, deadline);
}

int tri_shutdown(int fd, int how) { return sched::shutdown_descriptor(fd, how); }

int tri_close(int fd) { return sched::close_descriptor(fd); }

int tri_detach(int fd) { return sched::detach_descriptor(fd); }

TRI_EXPORT_END
