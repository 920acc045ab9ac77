// http.h - The least that answers HTTP: finds the end of each request, and gives the same answer to all.
#ifndef BENCH_NET_HTTP_H
#define BENCH_NET_HTTP_H

#include <string.h>

static const char http_answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";
enum { kHttpAnswer = sizeof http_answer - 1 };

// The number of whole requests (without bodies) at the start of the buffer; *used: their bytes.
static inline size_t http_requests(const char* buffer, size_t n, size_t* used) {
  size_t count = 0;
  const char *at = buffer, *end = buffer + n;
  for (;;) {
    const char* found = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
    if (found == NULL) break;
    at = found + 4;
    count++;
  }
  *used = (size_t)(at - buffer);
  return count;
}

#endif
