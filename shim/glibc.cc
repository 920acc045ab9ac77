// glibc.cc - What glibc tells about its heap, told truthfully about ours: mallinfo, malloc_info, malloc_stats, malloc_trim.
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/scavenger.h"
#include "alloc/stats.h"
#include "shim/export.h"
#include "shim/purge.h"

namespace tri {
namespace {

struct mallinfo2 info() {
  const Stats stats = take_stats();
  struct mallinfo2 out = {};
  out.arena = counters->committed_bytes.load(std::memory_order_relaxed);
  out.ordblks = 1;
  out.hblks = stats.huge_blocks;
  out.hblkhd = stats.huge_bytes;
  out.uordblks = stats.live_bytes - stats.huge_bytes;
  out.fordblks = out.arena > out.uordblks ? out.arena - out.uordblks : 0;
  out.keepcost = stats.free_bytes;
  return out;
}

struct mallinfo narrow(const struct mallinfo2& in) {
  // The old structure's ints wrap above 2 GiB, as glibc's do.
  struct mallinfo out = {};
  out.arena = static_cast<int>(in.arena);
  out.ordblks = static_cast<int>(in.ordblks);
  out.hblks = static_cast<int>(in.hblks);
  out.hblkhd = static_cast<int>(in.hblkhd);
  out.uordblks = static_cast<int>(in.uordblks);
  out.fordblks = static_cast<int>(in.fordblks);
  out.keepcost = static_cast<int>(in.keepcost);
  return out;
}

}  // namespace
}  // namespace tri

using namespace tri;

TRI_EXPORT_BEGIN

struct mallinfo2 mallinfo2() {
  return info();
}
struct mallinfo mallinfo() {
  return narrow(info());
}
struct mallinfo __libc_mallinfo() {
  return narrow(info());
}

// glibc's knobs set thresholds of structures that this heap does not have: taken, and without effect.
int mallopt(int, int) { return 1; }
int __libc_mallopt(int, int) { return 1; }

int malloc_trim(size_t) { return purge_heap() != 0 ? 1 : 0; }

void malloc_stats() {
  const struct mallinfo2 i = info();
  Line line;
  line.text("Arena 0:\nsystem bytes     = ").number(uint64_t{i.arena});
  line.text("\nin use bytes     = ").number(uint64_t{i.uordblks});
  line.text("\nTotal (incl. mmap):\nsystem bytes     = ").number(uint64_t{i.arena + i.hblkhd});
  line.text("\nin use bytes     = ").number(uint64_t{i.uordblks + i.hblkhd});
  line.text("\nmax mmap regions = ").number(uint64_t{i.hblks});
  line.text("\nmax mmap bytes   = ").number(uint64_t{i.hblkhd}).text("\n");
  line.write_to(2);
}

int malloc_info(int options, FILE* to) {
  if (options != 0) return EINVAL;
  const Stats stats = take_stats();
  write_xml(
      stats, [](void* file, const char* data, size_t n) { fwrite(data, 1, n, static_cast<FILE*>(file)); }, to);
  return 0;
}

TRI_EXPORT_END
