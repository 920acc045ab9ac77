// pagemap_scan.h - The kernel's ioctl(PAGEMAP_SCAN) of /proc/self/pagemap: which pages of a range are of which kinds.
//
// Written out here: it is newer (Linux 6.7) than the headers that this is built with may be. Linux's
// Documentation/admin-guide/mm/pagemap.rst describes it.
//
// Used by: memory_map, dirty.
#ifndef TRI_GC_OS_LINUX_PAGEMAP_SCAN_H
#define TRI_GC_OS_LINUX_PAGEMAP_SCAN_H

#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace tri::gc {

/// Of neighbouring pages that are alike.
struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
static_assert(sizeof(PageRegion) == 24);

/// Pages are wanted that have all categories of category_mask and one of category_anyof_mask, once those of category_inverted are turned
/// round; at most vec_len regions of them go to vec.
struct ScanArg {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;  // where it ended
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(ScanArg) == 96);

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArg);
// flags
inline constexpr uint64_t kProtectMatching = 1 << 0;
inline constexpr uint64_t kCheckWatched = 1 << 1;
// categories
inline constexpr uint64_t kPageIsWritten = 1 << 1;
inline constexpr uint64_t kPageIsFile = 1 << 2;
inline constexpr uint64_t kPageIsPresent = 1 << 3;
inline constexpr uint64_t kPageIsSwapped = 1 << 4;
inline constexpr uint64_t kPageIsZero = 1 << 5;

inline ScanArg scan_of(uintptr_t begin, uintptr_t end) {
  ScanArg arg = {};
  arg.size = sizeof arg;
  arg.start = begin;
  arg.end = end;
  return arg;
}

}  // namespace tri::gc

#endif
