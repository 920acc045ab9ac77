/* time.h - Deadlines: how every call of this library that can block is told for how long.
 *
 * A deadline is a moment, not a span: nanoseconds of CLOCK_MONOTONIC, as tri_now() counts them. So it stays right in
 * loops, and may be passed on. TRI_FOREVER never comes; 0 is always past, which makes the call a try. */
#ifndef TRI_TIME_H
#define TRI_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t tri_time;

#define TRI_FOREVER INT64_MAX
#define TRI_US(n) ((int64_t)(n) * 1000)
#define TRI_MS(n) ((int64_t)(n) * 1000000)
#define TRI_S(n) ((int64_t)(n) * 1000000000)

/** The present moment. Any thread; does not block. */
tri_time tri_now(void);

/** The moment `ns` nanoseconds from now, TRI_FOREVER if that would overflow; the present for negative ns. Does not block. */
tri_time tri_after(int64_t ns);

#ifdef __cplusplus
}
#endif

#endif
