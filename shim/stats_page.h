// stats_page.h - The memory that a launcher shares with the processes that it started.
//
// Each process under the launcher claims a slot and keeps its counters there, so that the launcher can report on a
// process that left by _exit() or was killed. A process that exits in the usual way adds what takes a walk to know.
#ifndef TRI_SHIM_STATS_PAGE_H
#define TRI_SHIM_STATS_PAGE_H

#include <atomic>
#include <cstdint>

#include "alloc/counters.h"
#include "alloc/stats.h"

namespace tri {

struct ProcessSlot {
  std::atomic<int32_t> pid{0};
  std::atomic<uint32_t> has_final{0};  // release: `final` and rss_bytes are there
  char program[32] = {};
  uint64_t rss_bytes = 0;
  Counters counters;
  Stats final;
};

struct StatsPage {
  static constexpr uint32_t kMagic = 0x30697274;  // "tri0"; changes with the layout
  static constexpr uint32_t kSlots = 1024;        // later processes go unreported, and are counted

  uint32_t magic = kMagic;
  std::atomic<uint32_t> claimed{0};
  ProcessSlot slots[kSlots];
};

}  // namespace tri

#endif
