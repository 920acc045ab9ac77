// page_alloc.cc - See page_alloc.h.
#include "alloc/page_alloc.h"

#include "alloc/os/os.h"
#include "alloc/own_memory.h"

namespace tri {

bool PageAlloc::add(Arena* arena) {
  if (arena_count_ == kMaxArenas) return false;
  if (arenas_ == nullptr) {
    constexpr size_t kBytes = kMaxArenas * sizeof(ArenaEntry);
    auto* const entries = static_cast<ArenaEntry*>(os::reserve(kBytes, os::page_size()));
    if (entries == nullptr) return false;
    if (!own_memory::add(entries, kBytes)) {
      os::unmap(entries, kBytes);
      return false;
    }
    arenas_ = entries;
  }
  if (arena_count_ == committed_entries_) {
    if (!os::commit(arenas_ + committed_entries_, os::page_size())) return false;
    committed_entries_ += os::page_size() / sizeof(ArenaEntry);
  }
  arena->ordinal = arena_count_;
  arena->allocated.set(0, kArenaPages);
  arenas_[arena_count_++] = {arena, 0};
  return true;
}

PageRun PageAlloc::alloc(size_t count) {
  TRI_ASSERT(count != 0);
  TRI_ASSERT(count <= kArenaPages);
  for (size_t r = 0; r * kFanOut * kFanOut < arena_count_; ++r) {
    if (root_[r] < count) continue;
    for (size_t g = r * kFanOut;; ++g) {
      if (groups_[g] < count) continue;
      for (size_t a = g * kFanOut;; ++a) {
        if (arenas_[a].longest < count) continue;
        Arena* const arena = arenas_[a].arena;
        const PageRun run{arena, find_in(arena, count), count};
        TRI_CHECK(alloc_at(arena, run.page, count));
        return run;
      }
    }
  }
  return {};
}

bool PageAlloc::alloc_at(Arena* arena, size_t page, size_t count) {
  if (page + count > kArenaPages || !arena->allocated.none(page, count)) return false;
  arena->allocated.set(page, count);
  remove_dirty(arena, count - arena->scavenged.count(page, count));
  free_pages_ -= count;
  update(arena, page, count);
  return true;
}

void PageAlloc::free(const PageRun& run) {
  TRI_ASSERT(run.arena->allocated.all(run.page, run.count));
  run.arena->allocated.clear(run.page, run.count);
  add_dirty(run.arena, run.count - run.arena->scavenged.count(run.page, run.count));
  free_pages_ += run.count;
  update(run.arena, run.page, run.count);
}

uint64_t PageAlloc::claim(Arena* arena, size_t first) {
  TRI_ASSERT(first % 64 == 0);
  uint64_t claimed = 0;
  for (size_t i = 0; i < 64; ++i) {
    if (!arena->allocated.test(first + i)) claimed |= uint64_t{1} << i;
  }
  if (claimed == 0) return 0;
  size_t clean = 0;
  for (size_t i = 0; i < 64; ++i) clean += (claimed >> i & 1) != 0 && arena->scavenged.test(first + i) ? 1U : 0U;
  const auto count = static_cast<size_t>(std::popcount(claimed));
  arena->allocated.set(first, 64);
  remove_dirty(arena, count - clean);
  free_pages_ -= count;
  update(arena, first, 64);
  return claimed;
}

PageRun PageAlloc::find_dirty(size_t max) const {
  for (size_t a = arena_count_; a-- != 0;) {
    Arena* const arena = arenas_[a].arena;
    if (arena->dirty_pages == 0) continue;
    for (size_t c = kArenaChunks; c-- != 0;) {
      if (arena->chunks[c].longest == 0) continue;
      const size_t last = (c + 1) * kChunkPages;
      for (size_t at = c * kChunkPages; at < last;) {
        const size_t begin = arena->allocated.find(false, at, last);
        const size_t end = arena->allocated.find(true, begin, last);
        const size_t dirty = arena->scavenged.find(false, begin, end);
        if (dirty != end) {
          const size_t clean = arena->scavenged.find(true, dirty, end);
          return {arena, dirty, clean - dirty < max ? clean - dirty : max};
        }
        at = end;
      }
    }
  }
  return {};
}

void PageAlloc::add_dirty(Arena* arena, size_t pages) {
  arena->dirty_pages += pages;
  dirty_pages_.store(dirty_pages() + pages, std::memory_order_relaxed);
}

void PageAlloc::remove_dirty(Arena* arena, size_t pages) {
  TRI_ASSERT(arena->dirty_pages >= pages);
  arena->dirty_pages -= pages;
  dirty_pages_.store(dirty_pages() - pages, std::memory_order_relaxed);
  if (dirty_pages() < lowest_dirty_) lowest_dirty_ = dirty_pages();
}

size_t PageAlloc::find_in(const Arena* arena, size_t count) {
  size_t run = 0;  // free pages at the end of what was passed
  for (size_t c = 0; c < kArenaChunks; ++c) {
    const ChunkSummary& chunk = arena->chunks[c];
    const size_t first = c * kChunkPages;
    if (run + chunk.start >= count) return first - run;
    if (chunk.longest >= count) return arena->allocated.find_clear_run(count, first, first + kChunkPages);
    run = chunk.end == kChunkPages ? run + kChunkPages : chunk.end;
  }
  TRI_CHECK(false && "the summary promised a run");
  __builtin_unreachable();
}

ChunkSummary PageAlloc::summarize(const Arena* arena, size_t chunk) {
  const size_t first = chunk * kChunkPages;
  const size_t last = first + kChunkPages;
  ChunkSummary summary;
  for (size_t at = first; at < last;) {
    const size_t begin = arena->allocated.find(false, at, last);
    const size_t end = arena->allocated.find(true, begin, last);
    const auto length = static_cast<uint16_t>(end - begin);
    if (begin == first) summary.start = length;
    if (length > summary.longest) summary.longest = length;
    if (end == last) summary.end = length;
    at = end;
  }
  return summary;
}

uint16_t PageAlloc::longest_in(const Arena* arena) {
  size_t longest = 0;
  size_t run = 0;
  for (const ChunkSummary& chunk : arena->chunks) {
    if (run + chunk.start > longest) longest = run + chunk.start;
    if (chunk.longest > longest) longest = chunk.longest;
    run = chunk.end == kChunkPages ? run + kChunkPages : chunk.end;
  }
  return static_cast<uint16_t>(longest);
}

void PageAlloc::update(Arena* arena, size_t page, size_t count) {
  for (size_t c = page / kChunkPages; c <= (page + count - 1) / kChunkPages; ++c) {
    arena->chunks[c] = summarize(arena, c);
  }
  arena->longest = longest_in(arena);
  const size_t a = arena->ordinal;
  if (arenas_[a].longest == arena->longest) return;
  arenas_[a].longest = arena->longest;

  const size_t g = a / kFanOut;
  uint16_t longest = 0;
  for (size_t i = g * kFanOut; i < (g + 1) * kFanOut && i < arena_count_; ++i) {
    if (arenas_[i].longest > longest) longest = static_cast<uint16_t>(arenas_[i].longest);
  }
  if (groups_[g] == longest) return;
  groups_[g] = longest;

  const size_t r = g / kFanOut;
  longest = 0;
  for (size_t i = r * kFanOut; i < (r + 1) * kFanOut; ++i) {
    if (groups_[i] > longest) longest = groups_[i];
  }
  root_[r] = longest;
}

void PageAlloc::verify() const {
  size_t free_pages = 0;
  size_t dirty_pages_sum = 0;
  for (size_t a = 0; a < arena_count_; ++a) {
    const Arena* arena = arenas_[a].arena;
    size_t dirty = 0;
    for (size_t c = 0; c < kArenaChunks; ++c) {
      const ChunkSummary want = summarize(arena, c);
      TRI_CHECK(want.start == arena->chunks[c].start);
      TRI_CHECK(want.longest == arena->chunks[c].longest);
      TRI_CHECK(want.end == arena->chunks[c].end);
    }
    for (size_t p = 0; p < kArenaPages; ++p) {
      if (arena->allocated.test(p)) continue;
      ++free_pages;
      if (!arena->scavenged.test(p)) ++dirty;
    }
    TRI_CHECK(dirty == arena->dirty_pages);
    dirty_pages_sum += dirty;
    TRI_CHECK(longest_in(arena) == arena->longest);
    TRI_CHECK(arenas_[a].longest == arena->longest);
    TRI_CHECK(arena->longest <= groups_[a / kFanOut]);
    TRI_CHECK(groups_[a / kFanOut] <= root_[a / kFanOut / kFanOut]);
  }
  TRI_CHECK(free_pages == free_pages_);
  TRI_CHECK(dirty_pages_sum == dirty_pages());
}

}  // namespace tri
