// api.cc - The functions of tri/alloc.h.
#include <dlfcn.h>
#include <errno.h>

#include <algorithm>
#include <cstring>

#include "alloc/base/sys.h"
#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/stats.h"
#include "alloc/walk.h"
#include "gc/heap.h"
#include "sched/dump.h"
#include "shim/export.h"
#include "shim/include/tri.h"
#include "shim/leaks_report.h"
#include "shim/options.h"
#include "shim/purge.h"
#include "shim/report.h"

namespace tri {
namespace {

constexpr unsigned kAlignMask = 63;
static_assert(TRI_ZERO > kAlignMask);
static_assert(TRI_ALIGN(4096) == 12);

void* or_out_of_memory(void* p) {
  if (p == nullptr) errno = ENOMEM;
  return p;
}

[[gnu::noinline]] void* allocate_flags(size_t n, unsigned flags) {
  if ((flags & TRI_GC) != 0) {
    const size_t collected_alignment = size_t{1} << (flags & kAlignMask);
    return or_out_of_memory(gc::collected_heap.allocate(n, collected_alignment, (flags & TRI_NOSCAN) != 0));
  }
  const size_t alignment = size_t{1} << (flags & kAlignMask);
  const bool zeroed = (flags & TRI_ZERO) != 0;
  if (alignment <= kBlockAlignment) return or_out_of_memory(zeroed ? allocate_zeroed(n) : allocate_inline(n));
  void* const p = allocate_aligned(n, alignment);
  if (p != nullptr && zeroed) memset(p, 0, n);
  return or_out_of_memory(p);
}

[[gnu::noinline]] void* allocate_collected_slow(gc::KindRun* r) { return or_out_of_memory(gc::allocate_run(r)); }
[[gnu::noinline]] void* allocate_plain_slow(size_t n) { return or_out_of_memory(allocate_slow(n)); }

struct WalkArgs {
  int (*fn)(void*, size_t, unsigned, void*);
  void* arg;
};

}  // namespace
}  // namespace tri

using namespace tri;

TRI_EXPORT_BEGIN

const char* tri_version(void) { return TRI_VERSION; }

bool tri_active(void) {
  // The definition that the program finds, which need not be the one that this file sees.
  Dl_info found;
  Dl_info ours;
  void* const f = dlsym(RTLD_DEFAULT, "malloc");
  return f != nullptr && dladdr(f, &found) != 0 && dladdr(reinterpret_cast<void*>(&tri_version), &ours) != 0 &&
         found.dli_fbase == ours.dli_fbase;
}

int tri_set(const char* key, const char* value) { return set_option(key, value); }

int tri_get(const char* key, char* buffer, size_t length) { return get_option(key, buffer, length); }

int tri_stats_get(struct tri_stats* out, size_t size) {
  if (out == nullptr || size == 0) return -EINVAL;
  const Stats stats = take_stats();
  const auto get = [](const std::atomic<uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  struct tri_stats s = {};
  s.live_bytes = stats.live_bytes;
  s.live_blocks = stats.live_blocks;
  s.large_bytes = stats.large_bytes;
  s.used_bytes = get(counters->used_bytes);
  s.peak_bytes = get(counters->peak_bytes);
  s.cached_bytes = stats.cached_bytes;
  s.free_bytes = stats.free_bytes;
  s.returned_bytes = get(counters->returned_bytes);
  s.metadata_bytes = stats.metadata_bytes;
  s.arena_bytes = get(counters->arena_bytes);
  s.threads = get(counters->threads);
  memset(out, 0, size);
  memcpy(out, &s, size < sizeof s ? size : sizeof s);
  return 0;
}

int tri_report(int fd, const char* what) {
  if (what == nullptr) return -EINVAL;
  if (strcmp(what, "stats") == 0) {
    write_stats_report(fd, "running");
    return 0;
  }
  if (strcmp(what, "tasks") == 0) {
    sched::dump_tasks(fd);
    return 0;
  }
  if (strcmp(what, "leaks") == 0) return static_cast<int>(std::min(write_leaks_report(fd), 0L));
  if (strcmp(what, "leaks-json") == 0) return static_cast<int>(std::min(write_leaks_json(fd), 0L));
  if (strcmp(what, "xml") != 0) return -EINVAL;
  write_xml(
      take_stats(), [](void* to, const char* data, size_t n) { sys::write_all(*static_cast<int*>(to), data, n); }, &fd);
  return 0;
}

// All kinds as short as malloc(): whatever has more to do is called last.
void* tri_alloc(size_t n, unsigned flags) {
  if (flags <= TRI_ALIGN(kBlockAlignment)) return allocate_or<allocate_plain_slow>(n);
  if (TRI_LIKELY(n <= kMaxDirectSize)) {
    if (flags == TRI_GC) return gc::allocate_direct<false, allocate_collected_slow>(n);
    if (flags == (TRI_GC | TRI_NOSCAN)) return gc::allocate_direct<true, allocate_collected_slow>(n);
  }
  return allocate_flags(n, flags);
}

struct tri_block tri_alloc_at_least(size_t n, unsigned flags) {
  struct tri_block block = {allocate_flags(n, flags), 0};
  block.size = usable_size(block.ptr);
  // What lies beyond n was not asked to be zero, but whoever uses the whole block expects it.
  if (block.ptr != nullptr && (flags & TRI_ZERO) != 0) memset(static_cast<char*>(block.ptr) + n, 0, block.size - n);
  return block;
}

void* tri_realloc(void* p, size_t n, unsigned flags) {
  if (p == nullptr) return allocate_flags(n, flags);
  const size_t old_size = usable_size(p);
  const size_t alignment = size_t{1} << (flags & kAlignMask);
  void* q;
  if (alignment <= kBlockAlignment) {
    q = reallocate(p, n);
  } else {
    q = allocate_aligned(n, alignment);
    if (q != nullptr) {
      memcpy(q, p, old_size < n ? old_size : n);
      deallocate(p);
    }
  }
  if (q != nullptr && (flags & TRI_ZERO) != 0) {
    const size_t new_size = usable_size(q);
    if (new_size > old_size) memset(static_cast<char*>(q) + old_size, 0, new_size - old_size);
  }
  return or_out_of_memory(q);
}

bool tri_expand(void* p, size_t n) { return resize_in_place(p, n); }

void tri_free(void* p) { deallocate_inline(p); }

void tri_free_sized(void* p, size_t n) { deallocate_sized_inline(p, n); }

void tri_free_batch(void** p, size_t n) {
  for (size_t i = 0; i < n; ++i) deallocate_inline(p[i]);
}

size_t tri_good_size(size_t n) { return good_size(n); }

size_t tri_size(const void* p) { return usable_size(p); }

void* tri_base(const void* p) { return block_start(p); }

bool tri_owns(const void* p) { return block_start(p) != nullptr; }

size_t tri_purge(void) { return purge_heap(); }

int tri_walk(int (*fn)(void* p, size_t n, unsigned flags, void* arg), void* arg) {
  WalkArgs args{fn, arg};
  return walk_blocks(
      [](void* p, size_t n, void* a) {
        const auto* w = static_cast<WalkArgs*>(a);
        return w->fn(p, n, 0, w->arg);
      },
      &args);
}

TRI_EXPORT_END
