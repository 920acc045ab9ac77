// sampler.cc - See sampler.h.
#include "alloc/sampler.h"

#include "alloc/base/bits.h"
#include "alloc/base/list.h"
#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/persistent.h"
#include "alloc/thread.h"

namespace tri {

/// The sites of a sampled span's blocks, by their numbers. Kept for the next span of the class when its own is gone.
struct SampledSites {
  SampledSites* next;
  sites::Site of[];
};

namespace sampler {
namespace {

// Each costs a few microseconds, with the slow free that comes after it.
constexpr int64_t kPerSecond = 1000;
constexpr int64_t kNsPerToken = 1'000'000'000 / kPerSecond;
constexpr int64_t kMostTokens = 200;  // after a pause
constexpr uint32_t kTokensAtOnce = 16;
// A thread that got none does not look at the clock for so many slow paths, each of which serves dozens of allocations.
constexpr uint32_t kPatience = 32;

constinit Lock sampler_lock{LockRank::kSampler};
constinit List<Span> with_room[kSizeClasses];       // kSampler
constinit SampledSites* spare[kSizeClasses] = {};   // kSampler
constinit std::atomic<uint32_t> first_left{0};      // any thread
constinit std::atomic<int64_t> tokens_spent_ns{0};  // the time up to which tokens were given out; any thread

/// Tokens for the calling thread.
uint32_t take_tokens() {
  const int64_t now = os::now_ns();
  int64_t spent = tokens_spent_ns.load(std::memory_order_relaxed);
  for (;;) {
    const int64_t from = now - spent > kMostTokens * kNsPerToken ? now - kMostTokens * kNsPerToken : spent;
    int64_t n = (now - from) / kNsPerToken;
    if (n <= 0) return 0;
    if (n > kTokensAtOnce) n = kTokensAtOnce;
    if (tokens_spent_ns.compare_exchange_weak(spent, from + n * kNsPerToken, std::memory_order_relaxed)) {
      return static_cast<uint32_t>(n);
    }
  }
}

bool is_wanted(MCache* mcache) {
  uint32_t first = first_left.load(std::memory_order_relaxed);
  while (first != 0) {
    if (first_left.compare_exchange_weak(first, first - 1, std::memory_order_relaxed)) return true;
  }
  Sampling& s = mcache->sampling;
  if (s.tokens == 0) {
    if (s.pause != 0) {
      --s.pause;
      return false;
    }
    s.tokens = take_tokens();
    if (s.tokens == 0) {
      s.pause = kPatience;
      return false;
    }
  }
  if (s.random == 0) s.random = os::random64() | 1;
  // Marsaglia's xorshift64; its upper bits are good coins.
  s.random ^= s.random << 13;
  s.random ^= s.random >> 7;
  s.random ^= s.random << 17;
  if ((s.random >> 63) != 0) return false;
  --s.tokens;
  return true;
}

size_t index_of(const Span* s, const void* block) { return s->offset_of(block) / s->size - 1; }

SampledSites* take_sites(unsigned size_class) {
  if (SampledSites* const t = spare[size_class]) {
    spare[size_class] = t->next;
    return t;
  }
  return static_cast<SampledSites*>(persistent::alloc(
      sizeof(SampledSites) + class_capacity(size_class) * sizeof(sites::Site), alignof(SampledSites)));
}

/// A span with room, first in its list; null when there is no memory. With the lock held.
Span* span_with_room(MCache* mcache, unsigned size_class) {
  List<Span>& list = with_room[size_class];
  while (Span* const s = list.front()) {
    s->check_first();
    if (s->has_free() || s->carve()) return s;
    list.remove(s);
    s->place = SpanPlace::kFull;
  }
  SampledSites* const t = take_sites(size_class);
  if (t == nullptr) return nullptr;
  Span* const s = heap.alloc_small(size_class, mcache->pages);
  if (s == nullptr || !s->carve()) {
    TRI_CHECK(s == nullptr);
    t->next = spare[size_class];
    spare[size_class] = t;
    return nullptr;
  }
  s->sampled_sites = t;
  s->countdown = 0;  // blocks in use
  s->is_sampled = true;
  s->place = SpanPlace::kPartial;
  list.push_front(s);
  return s;
}

void* take_block(MCache* mcache, unsigned size_class, sites::Site site) {
  LockGuard guard(sampler_lock);
  Span* const s = span_with_room(mcache, size_class);
  if (s == nullptr) return nullptr;
  void* const block = pop(s);
  if (block == nullptr) return nullptr;  // the link was overwritten, where checks are switched off
  ++s->countdown;
  s->sampled_sites->of[index_of(s, block)] = site;
  return block;
}

}  // namespace

constinit std::atomic<bool> enabled{false};

bool switch_on() {
  if (is_on()) return true;
  if (!heap.init() || !sites::prepare()) return false;
  {
    SlowPath slow;
    if (slow.get() == nullptr) return false;
    slow.get()->put_away();
    tokens_spent_ns.store(os::now_ns(), std::memory_order_relaxed);
    first_left.store(kFirst, std::memory_order_relaxed);
    enabled.store(true, std::memory_order_relaxed);
  }
  return true;
}

void* allocate(MCache* mcache, unsigned size_class) {
  if (!is_wanted(mcache)) return nullptr;
  return take_block(mcache, size_class, sites::here());
}

void release(Span* s, void* p) {
  {
    LockGuard guard(sampler_lock);
    s->sampled_sites->of[index_of(s, p)] = 0;
    s->store_link(p, s->free);
    s->free = s->offset_of(p);
    TRI_CHECK(s->countdown > 0);
    List<Span>& list = with_room[s->size_class];
    if (s->place == SpanPlace::kFull) {
      s->place = SpanPlace::kPartial;
      list.push_back(s);
    }
    // The last of its class stays.
    if (--s->countdown != 0 || (list.front() == s && list.back() == s)) return;
    list.remove(s);
    s->sampled_sites->next = spare[s->size_class];
    spare[s->size_class] = s->sampled_sites;
    s->sampled_sites = nullptr;
    s->is_sampled = false;
    s->place = SpanPlace::kNowhere;
  }
  heap.free(s);
}

void note_large(MCache* mcache, Span* s) {
  s->site = s->bytes >= kAlwaysBytes || is_wanted(mcache) ? sites::here() : 0;
}

sites::Site site_of(const void* block) {
  if (!is_on()) return 0;
  const Span* const s = pagemap::lookup(block);
  if (s->kind == SpanKind::kNone) return 0;
  if (s->kind != SpanKind::kSmall) return static_cast<sites::Site>(s->site);
  return s->is_sampled && s->is_block(s->offset_of(block)) ? s->sampled_sites->of[index_of(s, block)] : 0;
}

Lock& lock() { return sampler_lock; }

}  // namespace sampler
}  // namespace tri
