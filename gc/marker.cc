// marker.cc - See marker.h.
#include "gc/marker.h"

#include <bit>

#include "alloc/os/os.h"
#include "gc/peek.h"
#include "word_filter.h"

namespace tri::gc {
namespace {

// Chosen by the first marker; every thread chooses the same.
constinit std::atomic<WordFilter> word_filter{nullptr};
constinit std::atomic<bool> word_filter_chosen{false};

constinit std::atomic<uint64_t> marked_ever{0};

WordFilter get_word_filter() {
  // acquire: pairs with the release below.
  if (TRI_UNLIKELY(!word_filter_chosen.load(std::memory_order_acquire))) {
    word_filter.store(choose_word_filter(), std::memory_order_relaxed);
    word_filter_chosen.store(true, std::memory_order_release);
  }
  return word_filter.load(std::memory_order_relaxed);
}

}  // namespace

Marker::Marker(const Shadow& shadow, MarkQueue& queue) : shadow_(shadow), queue_(queue) { (void)get_word_filter(); }

uint64_t Marker::progress() { return marked_ever.load(std::memory_order_relaxed); }

Marker::~Marker() {
  if (in_ != nullptr) queue_.put_empty(in_);
  if (out_ != nullptr) queue_.put_empty(out_);
}

// ---- words --------------------------------------------------------------------------------------------------------

/// word | bits; the word before.
template <bool kAlone>
[[gnu::always_inline]] inline uint64_t set_bits(MarkWord& word, uint64_t bits) {
  if constexpr (!kAlone) return word.fetch_or(bits, std::memory_order_relaxed);
  const uint64_t before = word.load(std::memory_order_relaxed);
  word.store(before | bits, std::memory_order_relaxed);
  return before;
}

/// What is done about a candidate when its unit has come.
template <bool kAlone>
[[gnu::always_inline]] inline void Marker::settle(Shadow::Slot slot) {
  const Shadow::Unit u = Shadow::unit_of(slot);
  const uint64_t bit = Shadow::bit_of(slot);
  MarkUnit* const m = shadow_.unit(u);
  // Of several markers one may see a bit in neither, while another moves it from one to the other: it becomes grey once more, and who takes
  // it then finds the mark.
  if (((m->marks.load(std::memory_order_relaxed) | m->grey.load(std::memory_order_relaxed)) & bit) != 0) return;
  if (TRI_UNLIKELY((slot & Shadow::kPointerFree) != 0)) {
    if ((set_bits<kAlone>(m->marks, bit) & bit) != 0) return;
    ++blocks_;
    bytes_ += shadow_.blocks_of(u).bytes;
    return;
  }
  // relaxed: who finds a bit set knows that the unit is in a queue, and that who takes it from there takes this bit as well: his
  // exchange is the next one in the order of the word's changes.
  if (set_bits<kAlone>(m->grey, bit) == 0 && TRI_UNLIKELY(!push({u, 0}))) queue_.note_lost();
}

template <bool kAlone>
[[gnu::always_inline]] inline void Marker::candidate(uintptr_t word) {
  Shadow::Slot slot;
  if (!shadow_.find_slot(word, &slot)) return;
  __builtin_prefetch(shadow_.unit(Shadow::unit_of(slot)), 1);
  if (TRI_LIKELY(candidate_tail_ - candidate_head_ == kCandidates)) {
    settle<kAlone>(candidates_[candidate_head_++ % kCandidates]);
  } else {
    // Little is under way, as along a list: the block is likely to be next.
    __builtin_prefetch(reinterpret_cast<const void*>(word));
  }
  candidates_[candidate_tail_++ % kCandidates] = slot;
}

template <bool kAlone>
void Marker::flush_candidates() {
  while (candidate_head_ != candidate_tail_) settle<kAlone>(candidates_[candidate_head_++ % kCandidates]);
}

// ---- memory -------------------------------------------------------------------------------------------------------

template <bool kAlone>
[[gnu::always_inline]] inline void Marker::scan(const char* begin, size_t bytes) {
  const auto* const words = reinterpret_cast<const uintptr_t*>(begin);
  const size_t n = bytes / sizeof(uintptr_t);
  if (TRI_UNLIKELY(n >= kFilterWords)) return scan_filtered<kAlone>(words, n);
  for (size_t i = 0; i < n; ++i) candidate<kAlone>(peek(&words[i]));
}

template <bool kAlone>
[[gnu::noinline]] void Marker::scan_filtered(const uintptr_t* words, size_t n) {
  uintptr_t begin;
  size_t bytes;
  const bool is_all = shadow_.window(&begin, &bytes);
  const WordFilter filter = is_all ? get_word_filter() : nullptr;
  size_t i = 0;
  for (; filter != nullptr && i + 64 <= n; i += 64) {
    for (uint64_t found = filter(&words[i], begin, bytes); found != 0; found &= found - 1) {
      candidate<kAlone>(peek(&words[i + static_cast<unsigned>(std::countr_zero(found))]));
    }
  }
  for (; i < n; ++i) candidate<kAlone>(peek(&words[i]));
}

template <bool kAlone>
void Marker::scan_piece(const char* begin, size_t bytes) {
  while (bytes > kMaxPiece && push({reinterpret_cast<uintptr_t>(begin) + kMaxPiece, bytes - kMaxPiece})) {
    bytes = kMaxPiece;
  }
  scan<kAlone>(begin, bytes);
}

template <bool kAlone>
void Marker::scan_words(const void* begin, const void* end) {
  const uintptr_t first = align_up(reinterpret_cast<uintptr_t>(begin), sizeof(uintptr_t));
  const uintptr_t last = align_down(reinterpret_cast<uintptr_t>(end), sizeof(uintptr_t));
  if (first < last) scan<kAlone>(reinterpret_cast<const char*>(first), last - first);
}

void Marker::scan_roots(const void* begin, const void* end) {
  if (queue_.markers() == 1) {
    scan_words<true>(begin, end);
  } else {
    scan_words<false>(begin, end);
  }
}

void Marker::add_roots(const void* begin, const void* end) {
  const uintptr_t first = align_up(reinterpret_cast<uintptr_t>(begin), sizeof(uintptr_t));
  const uintptr_t last = align_down(reinterpret_cast<uintptr_t>(end), sizeof(uintptr_t));
  // No search would find what is not a block.
  if (first < last && !push({first, last - first})) scan_roots(begin, end);
}

// ---- what was written ------------------------------------------------------------------------------------------------

template <bool kAlone>
void Marker::grey_again(Shadow::Unit u, uint64_t slots) {
  MarkUnit* const m = shadow_.unit(u);
  uint64_t marked = m->marks.load(std::memory_order_relaxed) & slots;
  if (marked == 0) return;
  // Of several markers one may see the bit in neither word: it makes it grey as well, and whoever takes it scans it once.
  if constexpr (kAlone) {
    m->marks.store(m->marks.load(std::memory_order_relaxed) & ~marked, std::memory_order_relaxed);
  } else {
    marked &= m->marks.fetch_and(~marked, std::memory_order_relaxed);
    if (marked == 0) return;
  }
  const auto count = static_cast<uint64_t>(std::popcount(marked));
  blocks_ -= count;  // counted when it is scanned; the sum over all markers comes out right
  bytes_ -= count * shadow_.blocks_of(u).bytes;
  if (set_bits<kAlone>(m->grey, marked) == 0 && TRI_UNLIKELY(!push({u, 0}))) queue_.note_lost();
}

template <bool kAlone>
void Marker::add_written_as(uintptr_t begin, uintptr_t end) {
  while (begin < end) {
    uintptr_t until = end;
    const Shadow::Part part = shadow_.part_at(begin, &until);
    switch (part.kind) {
      case Shadow::Part::kNone:
        add_roots(reinterpret_cast<void*>(begin), reinterpret_cast<void*>(until));
        break;
      case Shadow::Part::kPointerFree:
        break;
      case Shadow::Part::kSmall:
        for (Shadow::Unit u = Shadow::unit_of(part.first); u <= Shadow::unit_of(part.last); ++u) {
          uint64_t slots = ~uint64_t{0};
          if (u == Shadow::unit_of(part.first)) slots &= ~uint64_t{0} << (part.first % 64);
          if (u == Shadow::unit_of(part.last)) slots &= ~uint64_t{0} >> (63 - part.last % 64);
          grey_again<kAlone>(u, slots);
        }
        break;
      case Shadow::Part::kLarge:
        // Of a block that is not marked yet, all is scanned when it is.
        if ((shadow_.unit(Shadow::unit_of(part.first))->marks.load(std::memory_order_relaxed) & 1) != 0) {
          add_roots(reinterpret_cast<void*>(begin), reinterpret_cast<void*>(until));
        }
        break;
    }
    begin = until;
  }
}

void Marker::add_written(uintptr_t begin, uintptr_t end) {
  if (queue_.markers() == 1) {
    add_written_as<true>(begin, end);
  } else {
    add_written_as<false>(begin, end);
  }
}

/// What differs from the copy. Whole words: memory of a page or a block.
template <bool kAlone>
void Marker::scan_changed(uintptr_t begin, uintptr_t end, uintptr_t* copy) {
  const auto* const words = reinterpret_cast<const uintptr_t*>(begin);
  uintptr_t* const before = copy + begin % os::page_size() / sizeof(uintptr_t);
  const size_t n = (end - begin) / sizeof(uintptr_t);
  for (size_t i = 0; i < n; ++i) {
    const uintptr_t word = peek(&words[i]);
    if (TRI_LIKELY(word == before[i])) continue;
    before[i] = word;
    candidate<kAlone>(word);
  }
}

template <bool kAlone>
void Marker::scan_written_as(uintptr_t begin, uintptr_t end, uintptr_t* copy) {
  while (begin < end) {
    uintptr_t until = end;
    const Shadow::Part part = shadow_.part_at(begin, &until);
    switch (part.kind) {
      case Shadow::Part::kNone:
        scan_changed<kAlone>(begin, until, copy);
        break;
      case Shadow::Part::kPointerFree:
        break;
      case Shadow::Part::kSmall:
        for (Shadow::Unit u = Shadow::unit_of(part.first); u <= Shadow::unit_of(part.last); ++u) {
          const Shadow::Blocks b = shadow_.blocks_of(u);
          uint64_t marked = shadow_.unit(u)->marks.load(std::memory_order_relaxed);
          if (u == Shadow::unit_of(part.first)) marked &= ~uint64_t{0} << (part.first % 64);
          if (u == Shadow::unit_of(part.last)) marked &= ~uint64_t{0} >> (63 - part.last % 64);
          for (; marked != 0; marked &= marked - 1) {
            const auto at = reinterpret_cast<uintptr_t>(b.at(static_cast<unsigned>(std::countr_zero(marked))));
            const uintptr_t from = at < begin ? begin : at;
            const uintptr_t to = at + b.bytes < until ? at + b.bytes : until;
            if (from < to) scan_changed<kAlone>(from, to, copy);
          }
        }
        break;
      case Shadow::Part::kLarge:
        if ((shadow_.unit(Shadow::unit_of(part.first))->marks.load(std::memory_order_relaxed) & 1) != 0) {
          scan_changed<kAlone>(begin, until, copy);
        }
        break;
    }
    begin = until;
  }
}

void Marker::scan_written(uintptr_t begin, uintptr_t end, uintptr_t* copy) {
  if (queue_.markers() == 1) {
    scan_written_as<true>(begin, end, copy);
  } else {
    scan_written_as<false>(begin, end, copy);
  }
}

// ---- units --------------------------------------------------------------------------------------------------------

template <bool kAlone>
[[gnu::always_inline]] inline void Marker::visit_block(const char* begin, size_t bytes) {
  __builtin_prefetch(begin);
  // Of a block of several lines the first two are most that a prefetch can help with: the processor sees the rest coming.
  if (((reinterpret_cast<uintptr_t>(begin) + bytes - 1) ^ reinterpret_cast<uintptr_t>(begin)) >= 64) {
    __builtin_prefetch(begin + 64);
  }
  if (TRI_LIKELY(ready_tail_ - ready_head_ == kBlocks)) {
    const Block b = ready_[ready_head_++ % kBlocks];
    scan<kAlone>(b.begin, b.bytes);
  }
  ready_[ready_tail_++ % kBlocks] = {begin, bytes};
}

template <bool kAlone>
void Marker::flush_blocks() {
  while (ready_head_ != ready_tail_) {
    const Block b = ready_[ready_head_++ % kBlocks];
    scan<kAlone>(b.begin, b.bytes);
  }
}

template <bool kAlone>
[[gnu::always_inline]] inline void Marker::visit_unit(Shadow::Unit u) {
  MarkUnit* const m = shadow_.unit(u);
  uint64_t grey;
  if constexpr (kAlone) {
    grey = m->grey.load(std::memory_order_relaxed);
    m->grey.store(0, std::memory_order_relaxed);
  } else {
    grey = m->grey.exchange(0, std::memory_order_relaxed);
  }
  grey &= ~set_bits<kAlone>(m->marks, grey);
  const Shadow::Blocks b = shadow_.blocks_of(u);
  const auto count = static_cast<uint64_t>(std::popcount(grey));
  blocks_ += count;
  bytes_ += count * b.bytes;
  if (TRI_UNLIKELY(b.bytes > kMaxPiece)) {
    if (grey != 0) scan_piece<kAlone>(b.first, b.bytes);
    return;
  }
  for (; grey != 0; grey &= grey - 1) {
    visit_block<kAlone>(b.at(static_cast<unsigned>(std::countr_zero(grey))), b.bytes);
  }
}

template <bool kAlone>
[[gnu::always_inline]] inline void Marker::visit(const Work& w) {
  if (TRI_LIKELY(w.bytes == 0)) {
    visit_unit<kAlone>(w.at);
  } else {
    scan_piece<kAlone>(reinterpret_cast<const char*>(w.at), w.bytes);
  }
}

// ---- the queue ----------------------------------------------------------------------------------------------------

inline bool Marker::make_room() {
  if (out_ != nullptr) {
    queue_.put(out_);
    out_ = nullptr;
  }
  out_ = queue_.get_empty();
  return out_ != nullptr;
}

inline bool Marker::push(Work w) {
  if (TRI_UNLIKELY(out_ == nullptr || out_->full()) && !make_room()) return false;
  out_->work[out_->end++] = w;
  return true;
}

inline void Marker::prefetch_unit(uint32_t at) const {
  if (at >= in_->end || in_->work[at].bytes != 0) return;
  __builtin_prefetch(shadow_.unit(in_->work[at].at), 1);
}

/// Work to take: a chunk of the queue's, the oldest, or what was put last.
bool Marker::get_chunk() {
  marked_ever.fetch_add(bytes_ - told_, std::memory_order_relaxed);
  told_ = bytes_;
  if (queue_.has_work()) {
    if (in_ != nullptr) queue_.put_empty(in_);
    in_ = nullptr;
    // Of several markers another may have been faster, and this one must not wait: it has more to do.
    if (queue_.try_take(&in_)) return true;
  }
  if (out_ == nullptr || out_->empty()) return false;
  MarkChunk* const empty = in_;
  in_ = out_;
  out_ = empty;
  if (out_ != nullptr) out_->begin = out_->end = 0;
  return true;
}

inline bool Marker::pop(Work* out) {
  if (TRI_UNLIKELY(in_ == nullptr || in_->empty())) {
    if (!get_chunk()) return false;
    for (uint32_t i = 0; i < kUnitsAhead; ++i) prefetch_unit(in_->begin + i);
  }
  prefetch_unit(in_->begin + kUnitsAhead);
  *out = in_->work[in_->begin++];
  return true;
}

/// For a marker that waits.
void Marker::share() {
  if (out_ == nullptr || out_->end < kWorthSharing) return;
  queue_.put(out_);
  out_ = nullptr;
}

/// The units that did not find room in the queue.
template <bool kAlone>
void Marker::search() {
  shadow_.each_grey([this](Shadow::Unit u) {
    visit_unit<kAlone>(u);
    Work w;
    while (pop(&w)) visit<kAlone>(w);
  });
}

template <bool kAlone>
void Marker::drain_as() {
  for (;;) {
    Work w;
    while (pop(&w)) {
      visit<kAlone>(w);
      if constexpr (!kAlone) {
        if (TRI_UNLIKELY(queue_.wants_work())) share();
      }
    }
    flush_blocks<kAlone>();
    flush_candidates<kAlone>();
    if (out_ != nullptr && !out_->empty()) continue;
    if (in_ != nullptr) queue_.put_empty(in_);
    in_ = nullptr;
    switch (queue_.take(&in_)) {
      case MarkQueue::Next::kChunk:
        break;
      case MarkQueue::Next::kSearch:
        search<kAlone>();
        break;
      case MarkQueue::Next::kOver:
        return;
    }
  }
}

void Marker::drain() {
  if (queue_.markers() == 1) {
    drain_as<true>();
  } else {
    drain_as<false>();
  }
}

}  // namespace tri::gc
