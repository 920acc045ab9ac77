/* net.h - Reading, writing, connecting: input and output that makes only its caller wait.
 *
 * The calls work on ordinary integer descriptors: sockets, pipes, eventfds, ttys, files; those made here, and those made elsewhere. A
 * goroutine that has to wait leaves its thread to others meanwhile; a plain thread sleeps. Each call first tries the
 * system call of its name, and waits only if that would block.
 *
 * Deadlines (tri/time.h) are absolute. TRI_FOREVER: none. 0: the call is a try, and returns -EAGAIN where it would wait.
 *
 * Results are >= 0, or -errno; errno itself is left alone, and no call of this header raises SIGPIPE for a socket. Besides
 * the errors of the system call, each function may return
 *   -EAGAIN     it would have to wait, and the deadline is 0
 *   -ETIMEDOUT  the deadline passed
 *   -ECANCELED  the context of the goroutine was cancelled; the descriptor is as it was
 *   -EBADF      not a descriptor, or closed by tri_close() while this call waited: do not close it again
 *   -ENOMEM     no memory for the wait, or for the descriptor's record
 *   -ENOSPC     the user's bound of descriptors in epoll (fs.epoll.max_user_watches) is reached
 *   -EMFILE     descriptors from 8388608 on cannot be waited for
 * EINTR never: an interrupted call goes on.
 *
 * What happens to a descriptor from elsewhere: its first call here makes it non-blocking (O_NONBLOCK, which belongs to
 * the open file, and so holds for its duplicates in this and in other processes). Standard input, output and error that
 * are neither sockets nor non-blocking already stay as they are: waiting for them is the same, but the call itself may hold up
 * its thread (not others), and is then not bound by the deadline. Regular files and block devices always "block" for a
 * moment: their calls are made with the processor given to others, and know no deadline.
 *
 * Who made a descriptor, closes it: tri_close() for those made here, and for any other that was used here, if it can be. A descriptor
 * that other code will close gets tri_detach() first; if that is forgotten, its number is recognised when it means another
 * socket and has to wait, but no earlier.
 *
 * Any thread and any goroutine may call any function, several on one descriptor at once; all of them wake when it
 * becomes ready, and those that find nothing wait again. They do not run in signal handlers. */
#ifndef TRI_NET_H
#define TRI_NET_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "tri/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

/** Waits until one of poll(2)'s `events` (POLLIN, POLLOUT, POLLPRI, POLLRDHUP) is there, or POLLHUP or POLLERR. Returns those
 *  that are. Consumes nothing. Regular files are always ready. */
int tri_poll(int fd, int events, tri_time deadline);

/* ---- reading and writing ---------------------------------------------------------------------------------------- */

/** At most n bytes, at least one unless n is 0; 0 at the end of a stream (or an empty datagram). As read(2). */
ssize_t tri_read(int fd, void *buffer, size_t n, tri_time deadline);
/** At least one byte; perhaps fewer than n. As write(2); a pipe that nobody reads gives -EPIPE and SIGPIPE, a socket -EPIPE alone. */
ssize_t tri_write(int fd, const void *data, size_t n, tri_time deadline);
/** The same for pieces; as readv(2) and writev(2). */
ssize_t tri_readv(int fd, const struct iovec *vector, int count, tri_time deadline);
ssize_t tri_writev(int fd, const struct iovec *vector, int count, tri_time deadline);

/** Reads until n bytes are there or the stream ends: how many, so fewer than n means the end. After an error it is unknown
 *  how many of them came. */
ssize_t tri_read_full(int fd, void *buffer, size_t n, tri_time deadline);
/** Writes all n bytes; returns n. After an error it is unknown how many of them went. */
ssize_t tri_write_all(int fd, const void *data, size_t n, tri_time deadline);

/** As recv(2), recvfrom(2), recvmsg(2), with their flags; `from` and `from_length` may be null. -ENOTSOCK. */
ssize_t tri_recv(int fd, void *buffer, size_t n, int flags, tri_time deadline);
ssize_t tri_recvfrom(int fd, void *buffer, size_t n, int flags, struct sockaddr *from, socklen_t *from_length,
                     tri_time deadline);
ssize_t tri_recvmsg(int fd, struct msghdr *message, int flags, tri_time deadline);

/** As send(2), sendto(2), sendmsg(2), always with MSG_NOSIGNAL. -ENOTSOCK. */
ssize_t tri_send(int fd, const void *data, size_t n, int flags, tri_time deadline);
ssize_t tri_sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to, socklen_t to_length,
                   tri_time deadline);
ssize_t tri_sendmsg(int fd, const struct msghdr *message, int flags, tri_time deadline);

/** Sends up to n bytes of the file `in` from *offset, which moves on (from in's own position if offset is null), to `out` without
 *  copying them through the program. How many, perhaps fewer than n; 0 at the end of the file. As sendfile(2). */
ssize_t tri_sendfile(int out, int in, off_t *offset, size_t n, tri_time deadline);

/* ---- making descriptors ------------------------------------------------------------------------------------------
 * All of them are non-blocking and close-on-exec, and belong to the caller, who closes them with tri_close(). -EMFILE, -ENFILE,
 * -ENOMEM, -EACCES and the other errors of socket(2), bind(2), listen(2), connect(2). */

/** Listens for TCP connections on host:port. host: an address or a name; null or "": all addresses, of IPv6 and IPv4. port 0: one that
 *  is free (getsockname(2) tells). backlog <= 0: the system's greatest. The address may be in TIME_WAIT (SO_REUSEADDR);
 *  connections have TCP_NODELAY. Waits only to resolve a name. -EADDRINUSE, -EADDRNOTAVAIL, -EINVAL, and tri_resolve()'s. */
int tri_listen_tcp(const char *host, int port, int backlog);
/** Listens on a Unix stream socket; "@name" stands in Linux's abstract space, other paths are made as files, and stay until
 *  unlink(2). -EADDRINUSE: the file is there already; -ENAMETOOLONG: 108 bytes or more. Does not block. */
int tri_listen_unix(const char *path, int backlog);
/** Connects to host:port, with TCP_NODELAY. Tries the host's addresses in turn, each with an equal share of the time that is left (2 s
 *  at least); the error is that of the first. -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, and tri_resolve()'s. */
int tri_dial_tcp(const char *host, int port, tri_time deadline);
/** Connects to a Unix stream socket. -ENOENT, -ECONNREFUSED. If the listener's queue is full, waits for a place. */
int tri_dial_unix(const char *path, tri_time deadline);
/** A UDP socket bound to host:port; null: all of IPv4; port 0: one that is free. */
int tri_udp(const char *host, int port);
/** Waits for a connection, and returns its descriptor. -EINVAL: does not listen. -EMFILE and -ENFILE leave it in the queue. */
int tri_accept(int fd, tri_time deadline);
/** The same; writes the address of the other end, as accept(2). Both may be null. */
int tri_accept_from(int fd, struct sockaddr *from, socklen_t *from_length, tri_time deadline);
/** Connects a socket, as connect(2), and waits until it stands. 0. After -ETIMEDOUT or -ECANCELED the attempt goes on: close the socket.
 *  -EINPROGRESS: the deadline is 0, and the attempt has begun; calling again goes on with it. */
int tri_connect(int fd, const struct sockaddr *to, socklen_t to_length, tri_time deadline);
/** A pipe: fds[0] to read from, fds[1] to write to. Does not block. */
int tri_pipe(int fds[2]);
/** As open(2), always with O_CLOEXEC; the processor is given to others meanwhile. No deadline. */
int tri_open(const char *path, int flags, mode_t mode);

/** Up to `capacity` addresses of a host, with the port, in the order of preference: how many, at least 1. Addresses in
 *  numbers are converted at once; names are looked up by getaddrinfo(3) on a thread of its own.
 *  -ENOENT: no such host; -EHOSTUNREACH: no name server answers; -EIO: one fails; -EINVAL: no host, or a port that is none;
 *  -ENAMETOOLONG; -EAGAIN also: no thread could be started. */
int tri_resolve(const char *host, int port, struct sockaddr_storage *out, int capacity, tri_time deadline);

/* ---- ending ------------------------------------------------------------------------------------------------------ */

/** As shutdown(2); wakes who waits on the direction that ends. Does not block. */
int tri_shutdown(int fd, int how);
/** Closes a descriptor. Whoever waits on it, in a call of this header, is woken with -EBADF; a select that waits for it, too. As with
 *  close(2), the number may be another descriptor's at once, so a call that has yet to begin must not use it. Errors of
 *  close(2) tell of lost data (-EIO); the descriptor is closed all the same. */
int tri_close(int fd);
/** The descriptor leaves this library: its waiters are woken with -EBADF, nothing of it is kept; it stays open, and non-blocking. For
 *  descriptors that other code will close. A later call takes it in again. 0 or -EBADF. Does not block. */
int tri_detach(int fd);

#ifdef __cplusplus
}
#endif

#endif
