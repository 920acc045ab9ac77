// stats.h - A look at the whole heap: what is in use, what is kept, what is free.
//
// Counting on the fast paths would cost every program; so blocks are counted when somebody asks, by walking the spans
// (16,000 of them for each GiB). Spans of other threads change meanwhile, so their share is a good guess.
//
// Used by: shim (mallinfo, report, tri_stats), launcher (the report's text).
#ifndef TRI_ALLOC_STATS_H
#define TRI_ALLOC_STATS_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/print.h"
#include "alloc/counters.h"
#include "alloc/size_class.h"

namespace tri {

struct Stats {
  uint64_t live_bytes = 0;  // in blocks that the program holds
  uint64_t live_blocks = 0;
  uint64_t large_bytes = 0;  // of live_bytes: in blocks above 32 KiB
  uint64_t large_blocks = 0;
  uint64_t huge_bytes = 0;  // of large_bytes: in mappings of their own
  uint64_t huge_blocks = 0;
  uint64_t cached_bytes = 0;  // free, in spans that are in use, and in threads' large caches
  uint64_t free_bytes = 0;    // in free pages that hold memory of the OS
  uint64_t metadata_bytes = 0;
  uint64_t class_blocks[kSizeClasses] = {};  // live, by size class
};

/// Any thread; takes the heap's lock.
Stats take_stats();

/// Writes one XML document about the heap, as malloc_info() wants it, piece by piece.
void write_xml(const Stats& stats, void (*write)(void* to, const char* data, size_t length), void* to);

/// What the report says about one process.
struct Report {
  const char* version = "?";  // of the library
  const char* program = "?";
  int pid = 0;
  const char* end = "exit 0";  // how it ended
  uint64_t elapsed_ms = 0;
  uint64_t cpu_user_ms = 0;
  uint64_t cpu_system_ms = 0;
  uint64_t minor_faults = 0;
  uint64_t major_faults = 0;
  uint64_t peak_rss_bytes = 0;
  uint64_t rss_bytes = 0;  // at the end; 0 if it is not known any more
  bool has_live = false;   // whether live_* and what stands beside them are known
  Stats stats;
  uint64_t children = 0;
  uint64_t children_peak_bytes = 0;
};

/// The nine lines. `c` are the counters of the process.
void print_report(const Report& report, const Counters& c, Line& out);

}  // namespace tri

#endif
