/* tri.h - Tricolor: the memory and concurrency machinery of the Go runtime for C and C++ programs.
 *
 * Link with -ltri, or run any program under it: LD_PRELOAD=libtri.so program. */
#ifndef TRI_H
#define TRI_H

#include "tri/alloc.h"
#include "tri/chan.h"
#include "tri/container.h"
#include "tri/context.h"
#include "tri/finalize.h"
#include "tri/gc.h"
#include "tri/leaks.h"
#include "tri/net.h"
#include "tri/sched.h"
#include "tri/sync.h"
#include "tri/time.h"

#endif
