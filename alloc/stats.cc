// stats.cc - See stats.h.
#include "alloc/stats.h"

#include <bit>

#include "alloc/collected.h"
#include "alloc/mheap.h"
#include "alloc/persistent.h"
#include "alloc/thread.h"

namespace tri {
namespace {

/// Blocks of a small span that the program holds. The owner may be at work in it.
uint64_t live_blocks_of(const Span* s) {
  if (s->kind == SpanKind::kCollected) {
    uint64_t free = 0;
    s->collected->each_unused([&](size_t, uint64_t bits) { free += static_cast<uint64_t>(std::popcount(bits)); });
    return s->capacity() - free;
  }
  const uint64_t returned = s->remote.load(std::memory_order_relaxed).count;
  uint64_t live = 0;
  switch (s->place) {
    case SpanPlace::kPartial:
      live = static_cast<uint64_t>(s->countdown);
      break;
    case SpanPlace::kFull:
      live = s->carved;
      break;
    case SpanPlace::kCurrent:
    case SpanPlace::kNowhere:
    case SpanPlace::kCached:
      live = s->carved - s->free_length();
      break;
  }
  return live > returned ? live - returned : 0;
}

}  // namespace

Stats take_stats() {
  Stats out;
  // For the lock: see SlowPath.
  SlowPath slow;
  if (slow.reentered()) return out;
  heap.each_span([&](const Span* s) {
    if (s->kind == SpanKind::kSmall || s->kind == SpanKind::kCollected) {
      const uint64_t live = live_blocks_of(s);
      out.live_blocks += live;
      out.live_bytes += live * s->size;
      out.cached_bytes += (s->carved - live) * s->size;
      out.class_blocks[s->size_class] += live;
    } else if (s->place == SpanPlace::kCached) {
      out.cached_bytes += s->bytes;
    } else {
      ++out.live_blocks;
      ++out.large_blocks;
      out.live_bytes += s->bytes;
      out.large_bytes += s->bytes;
      if (s->kind != SpanKind::kHuge) return;
      ++out.huge_blocks;
      out.huge_bytes += s->bytes;
    }
  });
  out.free_bytes = heap.dirty_pages() * kPageSize;
  out.metadata_bytes = persistent::mapped_bytes();
  return out;
}

void write_xml(const Stats& stats, void (*write)(void* to, const char* data, size_t length), void* to) {
  Line line;
  const auto flush = [&] {
    write(to, line.data(), line.size());
    line.clear();
  };
  const auto element = [&](const char* name, uint64_t count, uint64_t bytes) {
    line.text("<total type=\"").text(name).text("\" count=\"").number(count).text("\" size=\"").number(bytes);
    line.text("\"/>\n");
    flush();
  };
  line.text("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n");
  flush();
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    if (stats.class_blocks[c] == 0) continue;
    line.text("<size class=\"").number(uint64_t{class_size(c)}).text("\" count=\"").number(stats.class_blocks[c]);
    line.text("\" total=\"").number(stats.class_blocks[c] * class_size(c)).text("\"/>\n");
    flush();
  }
  line.text("</sizes>\n");
  flush();
  element("live", stats.live_blocks, stats.live_bytes);
  element("large", stats.large_blocks, stats.large_bytes);
  element("mmap", stats.huge_blocks, stats.huge_bytes);
  element("cached", 0, stats.cached_bytes);
  element("rest", 0, stats.free_bytes);
  const uint64_t system = counters->committed_bytes.load(std::memory_order_relaxed) + stats.huge_bytes;
  line.text("<system type=\"current\" size=\"").number(system).text("\"/>\n");
  line.text("<aspace type=\"total\" size=\"");
  line.number(counters->arena_bytes.load(std::memory_order_relaxed) + stats.huge_bytes)
      .text("\"/>\n</heap>\n</malloc>\n");
  flush();
}

void print_report(const Report& r, const Counters& c, Line& out) {
  const auto get = [](const std::atomic<uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  const auto seconds = [&](uint64_t ms) -> Line& {
    return out.number(ms / 1000).text(".").number(ms % 1000 / 100).text(" s");
  };

  out.text("tri ").text(r.version).text("  ").text(r.program).text("[").number(static_cast<int64_t>(r.pid)).text("]  ");
  out.text(r.end).text("  ");
  seconds(r.elapsed_ms)
      .text("  ")
      .number(get(c.most_threads))
      .text(get(c.most_threads) == 1 ? " thread\n" : " threads\n");

  out.text("  live      ");
  if (r.has_live) {
    out.bytes(r.stats.live_bytes).text(" in ").count(r.stats.live_blocks).text(" blocks");
    out.text(", of these large ").bytes(r.stats.large_bytes).text(" in ").count(r.stats.large_blocks).text("\n");
  } else {
    out.text("at most ").bytes(get(c.used_bytes)).text(" (the process left without being asked)\n");
  }
  out.text("  spans     ").bytes(get(c.used_bytes)).text(" in use, peak ").bytes(get(c.peak_bytes)).text("\n");

  out.text("  rss       peak ").bytes(r.peak_rss_bytes);
  if (r.has_live && r.rss_bytes != 0) {
    // Pages of a block that were never touched count as live, but are not resident: the parts are cut to the whole.
    const uint64_t free_bytes = r.stats.free_bytes < r.rss_bytes ? r.stats.free_bytes : r.rss_bytes;
    uint64_t left = r.rss_bytes - free_bytes;
    const uint64_t metadata = r.stats.metadata_bytes < left ? r.stats.metadata_bytes : left;
    left -= metadata;
    const uint64_t cached = r.stats.cached_bytes < left ? r.stats.cached_bytes : left;
    left -= cached;
    const uint64_t live = r.stats.live_bytes < left ? r.stats.live_bytes : left;
    left -= live;
    out.text(", at exit ").bytes(r.rss_bytes).text(" = live ").bytes(live).text(" + caches ").bytes(cached);
    out.text(" + free pages ")
        .bytes(free_bytes)
        .text(" + tri ")
        .bytes(metadata)
        .text(" + rest of process ")
        .bytes(left);
  }
  out.text("\n");

  out.text("  system    ").bytes(get(c.committed_bytes)).text(" committed of ").bytes(get(c.arena_bytes));
  out.text(" of arenas, huge blocks ").bytes(get(c.huge_bytes)).text("\n");
  out.text("  returned  ").bytes(get(c.returned_bytes)).text(" to the OS, ").bytes(get(c.free_bytes));
  out.text(" free and not yet returned\n");
  out.text("  cost      cpu ");
  seconds(r.cpu_user_ms).text(" user + ");
  seconds(r.cpu_system_ms).text(" system, faults ").count(r.minor_faults).text(" minor, ");
  out.count(r.major_faults).text(" major\n");
  out.text("  children  ");
  if (r.children == 0) {
    out.text("none under tri\n");
  } else {
    out.number(r.children).text(" under tri, largest peak ").bytes(r.children_peak_bytes).text(" of spans\n");
  }
  out.text("  next      TRI=help lists the options; TRI=stats:on,report:FILE writes this to a file\n");
}

}  // namespace tri
