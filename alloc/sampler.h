// sampler.h - Which allocations have their site noted, and which site a block has.
//
// Off by default, and then nothing but one load in the slow path. When on:
//
//   small blocks   a sampled one comes from a span of the sampler's own, which no thread owns: owner_tp is 0, so each free of it takes the slow
//                  path and comes here. The fast path is untouched, and no block keeps a site that was another's.
//   large blocks   the site stands in the span's record; from kAlwaysBytes on each has one, below it is as with small ones
//
// When to sample is asked in the slow path alone, which an allocation enters if its thread's span has no free block:
//
//   at first       always, and as long as that is so no thread gets a span: all of the first kFirst allocations have their site
//   later          by a coin; on tails the thread gets a span, and so many allocations are not asked. A span holds as many blocks
//                  each time: but for the coin, always the same of several allocations that take turns would be seen.
//                  A bucket of tokens, filled by time, bounds the cost; a thread takes a few at once.
//
// What is known of leaks is then a sample: how many blocks have a site is always told along with it.
//
// (A table by address beside the spans was the other design. It has to notice that a block was freed and allocated again by the fast
// path, which tells nobody.)
//
//   sampled span: owner == null, on a list of its class while it has room; ids[i] != 0 for each block in use whose site is known
//
// One lock, kSampler, for all sampled spans. Uses: sites. Used by: malloc, shim.
#ifndef TRI_ALLOC_SAMPLER_H
#define TRI_ALLOC_SAMPLER_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/lock.h"
#include "alloc/mcache.h"
#include "alloc/sites.h"
#include "alloc/span.h"

namespace tri::sampler {

inline constexpr uint32_t kFirst = 2048;
inline constexpr size_t kAlwaysBytes = 256 * 1024;

extern constinit std::atomic<bool> enabled;
inline bool is_on() { return enabled.load(std::memory_order_relaxed); }
/// From now on; for good. False if there is no memory. What the calling thread has at hand is put away first, so that its next
/// allocations are seen.
[[nodiscard]] bool switch_on();

/// A block of the class with its site noted, or null: it is not to be sampled, or there is no memory. In the slow path of its thread.
[[nodiscard]] void* allocate(MCache* mcache, unsigned size_class);
/// Takes a block, in use, of a sampled span. In the slow path.
void release(Span* s, void* p);
/// Notes the site of a large block that is being allocated, or that it has none. In the slow path.
void note_large(MCache* mcache, Span* s);

/// Where a block in use was allocated, if that is known. Nobody may free it meanwhile.
sites::Site site_of(const void* block);

/// For fork() and for who stops the world.
Lock& lock();

}  // namespace tri::sampler

#endif
