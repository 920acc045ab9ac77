// held.cc - See held.h.
#include "alloc/held.h"

#include "alloc/base/sys.h"
#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "alloc/remote_free.h"
#include "alloc/sampler.h"

namespace tri::held {

constinit Slot* slots = nullptr;
constinit std::atomic<bool> used[kSlots] = {};
constinit uintptr_t owner_mark = 0;

namespace {

// The heap's records name spans that were freed: no pointers of the program's.
constinit own_memory::Region heap_itself = {};

constinit Lock giving_back{LockRank::kHeld};
using Looker = void (*)();
constinit Looker looker = nullptr;
constinit std::atomic<size_t> held_now{0};
constinit std::atomic<size_t> trigger_at{SIZE_MAX};
// Slots from the first that was ever used to behind the last.
constinit std::atomic<size_t> first_used{kSlots};
constinit std::atomic<size_t> end_used{0};

size_t slots_in_window() { return (pagemap::near_pages << kPageShift) / kSlotBytes; }

template <class Fn>
void each_used(Fn&& fn) {
  const size_t end = end_used.load(std::memory_order_acquire);
  for (size_t i = first_used.load(std::memory_order_acquire); i < end; ++i) {
    if (used[i].load(std::memory_order_acquire)) fn(i, slots[i]);
  }
}

char* address(size_t slot, size_t word, unsigned bit) {
  return reinterpret_cast<char*>(pagemap::near_base + slot * kSlotBytes + (word * 64 + bit) * kBlockAlignment);
}

/// Clears bits of candidates, with the lock held, under which alone they change.
void clear(Word& word, uint64_t bits) {
  word.store(word.load(std::memory_order_relaxed) & ~bits, std::memory_order_relaxed);
}

/// The unreached blocks of one span after the other, linked.
class Chain {
 public:
  explicit Chain(MCache* mine) : mine_(mine) {}

  bool is_of(const char* p) const { return p < end_; }
  void begin(Span* s) {
    span_ = s;
    end_ = s->end();
    count_ = 0;
  }
  Span* span() const { return span_; }
  void add(const char* p) {
    const uint64_t offset = span_->offset_of(p);
    if (count_++ == 0) {
      head_ = offset;
    } else {
      span_->store_link(span_->block_at(tail_), offset);
    }
    tail_ = offset;
  }
  bool is_mine() const { return mine_ != nullptr && span_->owner.load(std::memory_order_relaxed) == mine_; }
  /// All blocks of a span of ours, of which none is linked. Their bits are gone.
  void all() {
    const uint32_t count = span_->carved;
    const bool is_full = span_->place == SpanPlace::kFull;
    // As if none had been carved: their links are written again when they are needed, which is when they come into the cache.
    span_->free = kNil;
    span_->carved = 0;
    mine_->blocks_returned(span_, is_full ? 0 : count);
    end_ = nullptr;  // it may be no span any more
  }
  /// Their bits are gone.
  void finish() {
    if (count_ == 0) return;
    // Nobody but its owner makes a span ours, or takes it from us. From its current spans a thread takes blocks without a word to anybody: if it frees, and so looks, in a
    // signal handler, it may be in the middle of that.
    if (is_mine() && span_->place != SpanPlace::kCurrent) {
      span_->splice(RemoteChain::make(head_, tail_, count_));
      mine_->blocks_returned(span_, count_);
    } else {
      post_chain(span_, static_cast<uint32_t>(head_), static_cast<uint32_t>(tail_), count_);
    }
    count_ = 0;
  }

 private:
  MCache* mine_;
  Span* span_ = nullptr;
  const char* end_ = nullptr;
  uint64_t head_ = kNil;
  uint64_t tail_ = kNil;
  uint32_t count_ = 0;
};

}  // namespace

bool switch_on() {
  if (is_on()) return true;
  // Places the window, and gives this thread its record.
  void* const p = allocate(1);
  if (p == nullptr) return false;
  deallocate(p);
  const size_t bytes = slots_in_window() * sizeof(Slot);
  auto* const table = static_cast<Slot*>(os::reserve(bytes, os::page_size()));
  if (table == nullptr) return false;
  if (!own_memory::add(table, bytes)) {
    os::unmap(table, bytes);
    return false;
  }
  own_memory::add(&heap_itself, &heap, sizeof heap);
  slots = table;
  owner_mark = 1;
  static_assert(alignof(Span) > 1 && alignof(std::max_align_t) > 1, "thread pointers are even");
  SlowPath slow;
  MCache* const mine = slow.get();
  if (mine == nullptr) return true;
  mine->owner_tp |= owner_mark;
  heap.each_span([mine](Span* s) {
    if (s->kind != SpanKind::kSmall || s->owner.load(std::memory_order_relaxed) != mine) return;
    s->owner_tp.store(mine->owner_tp, std::memory_order_relaxed);
  });
  return true;
}

bool make_slots(size_t first, size_t last) {
  if (last >= slots_in_window()) return false;
  for (size_t i = first; i <= last; ++i) {
    if (used[i].load(std::memory_order_acquire)) continue;
    // Two threads may do it at once: it is done twice then, and does no harm.
    if (!os::commit(&slots[i], sizeof(Slot))) return false;
    used[i].store(true, std::memory_order_release);
  }
  size_t seen = first_used.load(std::memory_order_relaxed);
  while (first < seen && !first_used.compare_exchange_weak(seen, first, std::memory_order_acq_rel)) {
  }
  seen = end_used.load(std::memory_order_relaxed);
  while (last + 1 > seen && !end_used.compare_exchange_weak(seen, last + 1, std::memory_order_acq_rel)) {
  }
  return true;
}

Put put_again(const Place& at) {
  Slot& s = slots[at.slot];
  // A handler above who holds the lock must not wait for it. In its block's word nothing has been moved twice.
  if (!giving_back.held_by_me()) {
    LockGuard until_moved(giving_back);
  }
  if ((s.fresh[at.word].load(std::memory_order_relaxed) & at.bit) == 0) return Put::kDone;
  s.fresh[at.word].fetch_and(~at.bit, std::memory_order_relaxed);
  return Put::kTwice;
}

bool is_held(const void* p) {
  if (!is_on()) return false;
  const size_t offset = reinterpret_cast<uintptr_t>(p) - pagemap::near_base;
  if (offset >= pagemap::near_pages << kPageShift) return false;
  const Place at(offset);
  if (!used[at.slot].load(std::memory_order_acquire)) return false;
  const Slot& s = slots[at.slot];
  // acquire: see put().
  if ((s.fresh[at.word].load(std::memory_order_acquire) & at.bit) != 0) return true;
  return (s.candidates[at.word].load(std::memory_order_relaxed) & at.bit) != 0;
}

bool is_reached(const void* p, size_t bytes) {
  size_t offset = reinterpret_cast<uintptr_t>(p) - pagemap::near_base;
  const size_t end = offset + bytes;
  while (offset < end) {
    const Place at(offset);
    const size_t word_end = align_down(offset, kBlockAlignment * 64) + kBlockAlignment * 64;
    uint64_t bits = ~(at.bit - 1);
    if (end < word_end) bits &= Place(end).bit - 1;
    if ((slots[at.slot].reached[at.word].load(std::memory_order_relaxed) & bits) != 0) return true;
    offset = word_end;
  }
  return false;
}

bool holds_all(const Span* s) {
  const size_t first = reinterpret_cast<uintptr_t>(s->start) - pagemap::near_base;
  size_t held = 0;
  for (size_t offset = first; offset < first + s->mapped_pages * kPageSize; offset += kBlockAlignment * 64) {
    const Place at(offset);
    if (at.slot >= kSlots || !used[at.slot].load(std::memory_order_acquire)) return false;
    const Slot& slot = slots[at.slot];
    held += static_cast<size_t>(std::popcount(slot.fresh[at.word].load(std::memory_order_relaxed) |
                                              slot.candidates[at.word].load(std::memory_order_relaxed)));
    // A span is either nearly full of them or not: the first kibibyte tells.
    if (held == 0) return false;
  }
  return held == s->carved;
}

void set_looker(void (*look)()) { looker = look; }

void count_all(size_t bytes) {
  const size_t now = held_now.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (TRI_LIKELY(now < trigger_at.load(std::memory_order_relaxed))) return;
  if (looker != nullptr && !in_slow_path()) looker();
}

void begin_look() {
  LockGuard guard(giving_back);
  each_used([](size_t, Slot& s) {
    for (size_t w = 0; w < kSlotWords; ++w) {
      const uint64_t fresh = s.fresh[w].load(std::memory_order_acquire);  // pairs with the release in put()
      if (fresh == 0) continue;
      Word& candidates = s.candidates[w];
      // relaxed: the release below is behind it.
      candidates.store(candidates.load(std::memory_order_relaxed) | fresh, std::memory_order_relaxed);
      // release: the bit is never in neither.
      s.fresh[w].fetch_and(~fresh, std::memory_order_release);
    }
    // Most stand there as they were made, without memory.
    for (Word& w : s.reached) {
      if (w.load(std::memory_order_relaxed) != 0) w.store(0, std::memory_order_relaxed);
    }
  });
}

void hull(uintptr_t* begin, size_t* bytes) {
  const size_t first = first_used.load(std::memory_order_acquire);
  const size_t end = end_used.load(std::memory_order_acquire);
  *begin = pagemap::near_base + first * kSlotBytes;
  *bytes = first < end ? (end - first) * kSlotBytes : 0;
}

/// If all blocks of a span that were handed out are candidates, and none is reached: takes their bits, and returns how many words those are. Their memory is not touched.
static size_t take_whole(Slot& slot, size_t first, const Span* s) {
  // To the end of the last block: its pages may not all be in the pagemap.
  const size_t words =
      ceil_div(static_cast<size_t>(s->origin - s->start) + (size_t{s->carved} + 1) * s->size, kBlockAlignment * 64);
  if (first + words > kSlotWords) return 0;
  size_t blocks = 0;
  for (size_t w = first; w < first + words; ++w) {
    if (slot.reached[w].load(std::memory_order_relaxed) != 0) return 0;
    blocks += static_cast<size_t>(std::popcount(slot.candidates[w].load(std::memory_order_relaxed)));
    // A span is either full of them or not: the first kibibytes tell.
    if (blocks == 0 && (w - first) * kBlockAlignment * 64 > s->size) return 0;
  }
  if (blocks != s->carved) return 0;
  for (size_t w = first; w < first + words; ++w) slot.candidates[w].store(0, std::memory_order_relaxed);
  return words;
}

/// By the thread whose record it is; null: by one of the collector's, which have none.
static Returned give_back(MCache* mine, IsKept is_kept, void* arg) {
  Returned sum;
  LockGuard guard(giving_back);
  Chain chain(mine);
  each_used([&](size_t i, Slot& slot) {
    for (size_t w = 0; w < kSlotWords; ++w) {
      const uint64_t candidates = slot.candidates[w].load(std::memory_order_relaxed);
      if (candidates == 0) continue;
      // Mostly nothing reaches this kibibyte and the next, and then no small block that starts here.
      const bool is_quiet = w + 1 < kSlotWords && slot.reached[w].load(std::memory_order_relaxed) == 0 &&
                            slot.reached[w + 1].load(std::memory_order_relaxed) == 0;
      uint64_t gone = 0;
      for (uint64_t left = candidates; left != 0; left &= left - 1) {
        const auto bit = static_cast<unsigned>(std::countr_zero(left));
        char* const p = address(i, w, bit);
        // A span begins with a page, and so with a word of bits: those of the span before are clear by now.
        if (!chain.is_of(p)) {
          chain.finish();
          chain.begin(pagemap::lookup(p));
          Span* const s = chain.span();
          if (s->kind == SpanKind::kSmall && chain.is_mine()) {
            const size_t first = w - static_cast<size_t>(p - s->start) / (kBlockAlignment * 64);
            if (const size_t words = first <= w ? take_whole(slot, first, s) : 0; words != 0) {
              sum.blocks += s->carved;
              sum.bytes += size_t{s->carved} * s->size;
              sum.weight += size_t{s->carved} * s->size;
              chain.all();
              w = first + words - 1;
              gone = 0;
              break;
            }
          }
        }
        Span* const s = chain.span();
        const bool is_small = s->kind == SpanKind::kSmall;
        const size_t bytes = is_small ? s->size : s->bytes;
        if (!(is_quiet && bytes <= kBlockAlignment * 64) && is_reached(p, bytes)) continue;
        if (is_kept != nullptr && is_kept(arg, p)) continue;
        ++sum.blocks;
        sum.bytes += bytes;
        sum.weight += weight(bytes);
        if (s->is_sampled) {
          clear(slot.candidates[w], uint64_t{1} << bit);
          sampler::release(s, p);
        } else if (is_small) {
          gone |= uint64_t{1} << bit;
          chain.add(p);
        } else {
          clear(slot.candidates[w], uint64_t{1} << bit);
          free_large(s, mine);
        }
      }
      if (gone != 0) clear(slot.candidates[w], gone);
    }
  });
  chain.finish();
  held_now.fetch_sub(sum.weight, std::memory_order_relaxed);
  return sum;
}

Returned return_unreached(IsKept is_kept, void* arg) {
  if (os::is_bare_thread(sys::thread_id())) return give_back(nullptr, is_kept, arg);
  SlowPath slow;
  return slow.get() == nullptr ? Returned() : give_back(slow.get(), is_kept, arg);
}

size_t held_bytes() { return held_now.load(std::memory_order_relaxed); }
void set_trigger(size_t bytes) { trigger_at.store(bytes, std::memory_order_relaxed); }
size_t trigger() { return trigger_at.load(std::memory_order_relaxed); }
Lock& lock() { return giving_back; }

}  // namespace tri::held
