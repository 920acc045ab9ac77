// mcache.h - What a thread allocates from: for each size class the span that malloc takes blocks of now.
//
// The first two tables are all that malloc's fast path reads. A thread that has none yet, or has none any more, uses
// empty_mcache, in which every class has empty_span: nothing free, so the slow path follows and finds out.
//
// Life of a span under its owner:
//
//       heap / mcentral --> kCurrent --(malloc finds nothing free)--> kFull --(first free)--> kPartial --(refill)--> kCurrent
//                                                                                              |
//                                                      (last free) ---> empty, until the others of the class are used up,
//                                                                       or back to the heap when there are many
//
// All but notify belongs to the owner thread. Used by: malloc, thread, remote_free.
#ifndef TRI_ALLOC_MCACHE_H
#define TRI_ALLOC_MCACHE_H

#include <atomic>

#include "alloc/base/lfstack.h"
#include "alloc/base/list.h"
#include "alloc/large_cache.h"
#include "alloc/page_cache.h"
#include "alloc/remote_free.h"
#include "alloc/size_class.h"
#include "alloc/span.h"

namespace tri {

inline constexpr size_t kMaxDirectSize = 1024;
inline constexpr size_t kDirectEntries = kMaxDirectSize / kBlockAlignment + 1;

constexpr size_t direct_index(size_t n) { return (n + kBlockAlignment - 1) / kBlockAlignment; }

/// A thread's part in sampling (sampler.h).
struct Sampling {
  uint32_t tokens;
  uint32_t pause;
  uint64_t random;
};

struct alignas(128) MCache {
  Span* direct[kDirectEntries];  // by size, up to kMaxDirectSize
  Span* current[kSizeClasses];   // by class

  uintptr_t owner_tp = 0;
  List<Span> partial[kSizeClasses];
  List<Span> full[kSizeClasses];
  List<Span> empty[kSizeClasses];  // kPartial too, but without a block in use
  size_t empty_bytes = 0;          // of the spans in empty
  unsigned next_emptied = 0;       // the class that gives up its empty spans next
  uint32_t refills = 0;
  Sampling sampling = {};
  // Raised while the slow path runs: a signal handler that allocates then must not enter it again (see emergency.h).
  bool busy;
  RemoteBatches remote;
  LargeCache large;
  PageCache pages;
  size_t held_bytes = 0;  // freed, and not counted yet: see held.h
  // Bytes of the spans on notify. Any thread adds; the owner clears.
  std::atomic<size_t> uncollected{0};
  // Spans of ours that other threads freed to. Any thread pushes; the owner takes.
  LfStack<Span, &Span::notify_next> notify;

  /// `is_busy`: for empty_mcache, whose users must find out that it is not theirs.
  constexpr explicit MCache(bool is_busy = false) : busy(is_busy) {
    for (Span*& s : direct) s = &empty_span;
    for (Span*& s : current) s = &empty_span;
  }

  /// A span of the class with a free block, now current; null when there is no memory.
  [[nodiscard]] Span* refill(unsigned size_class);
  /// The countdown of one of our spans has come to 0 (see span.h).
  void counted_down(Span* s);
  /// `count` blocks came back to one of our spans from elsewhere and are on its free list.
  void blocks_returned(Span* s, uint32_t count);
  /// One of our spans turned out to be hollow (see span.h).
  void became_hollow(Span* s);
  /// The same for all that are. In a forked child, where nobody tells us.
  void drop_hollow();
  /// Puts the spans that malloc takes from among the others, so that the next allocation of each class takes the slow path.
  void put_away();
  /// Gives back what is kept for later: empty spans, large blocks, pages, batches.
  void release_caches();
  /// Leaves all spans to mcentral or the heap. For a thread that ends.
  void release_all();
  void verify();

 private:
  void set_current(unsigned size_class, Span* s);
  void retire_current(unsigned size_class);
  /// A span of ours with room that is on no list now: one that we had, an orphan, or a new one.
  [[nodiscard]] Span* next_span(unsigned size_class);
  void make_partial(Span* s, uint32_t in_use);
  void release_span(Span* s);
  void became_empty(Span* s);
  Span* take_empty(unsigned size_class);
  /// Gives back empty spans until what is left are `most` bytes.
  void release_empty(size_t most);
};

extern constinit MCache empty_mcache;

/// How much each thread may keep of something, given `total` for all: shared evenly, at most `most`.
size_t fair_share(size_t total, size_t most);

}  // namespace tri

#endif
