// safe.h - TRI=safe: puts the quarantine of the collector behind the allocator's free(), and the scheduler's roots behind it.
#ifndef TRI_SHIM_SAFE_H
#define TRI_SHIM_SAFE_H

namespace tri {

/// Once, before the program has threads. Says so if there is no memory for it; the program runs without it then.
void start_safe();

}  // namespace tri

#endif
