// held.h - Blocks that the program has freed and that nobody gets yet: something may still point to them.
//
// For TRI=safe. free() puts a block here instead of on its span's free list: a bit in a table, and the contents of small blocks are zeroed. For the rest of the
// allocator it is in use. From time to time somebody (gc/quarantine.h) looks for words that point into such blocks, and those
// without any are given back to their spans.
//
// Three bits for each place where a block may start, every 16 bytes of the near window (arena.h), in slots of 4 MiB of addresses that are made as
// they are needed: 2.3 % of the heap.
//
//   fresh       freed since the last look began
//   candidates  freed before; begin_look() makes the former the latter
//   reached     a word points to these 16 bytes: set by who looks, for pointers into the middle of a block as well
//
//   a block is held  <=>  it has one of the first two bits; never while it is on a free list: the bit goes before the block
//   a block may be given back  <=>  candidate, and none of its 16-byte parts is reached
//
// Why the latter is enough while the program runs: a look ends with a moment in which all words of the program are accounted for. Who holds no pointer to a freed
// block then cannot come by one later. Those freed after that moment are fresh.
//
// How free() comes here: the owner's mark in a span (owner_tp) and the thread pointer that the fast path compares with it are never equal, because the marks
// have their lowest bit set (kOwnerMark) once the mode is on. So the fast path is as long as it was, and off means free.
//
// Blocks beyond the window are not held, nor is any where there is no memory for the bits. They are freed at once: that costs protection, nothing else.
//
// Used by: malloc, thread, walk, stats, gc (quarantine, leaks), shim.
#ifndef TRI_ALLOC_HELD_H
#define TRI_ALLOC_HELD_H

#include <sys/single_threaded.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/arena.h"
#include "alloc/base/lock.h"
#include "alloc/mheap.h"
#include "alloc/thread.h"
#include "set_bits.h"

namespace tri::held {

inline constexpr size_t kSlotShift = 22;
inline constexpr size_t kSlotBytes = size_t{1} << kSlotShift;
inline constexpr size_t kSlots = pagemap::kNearBytes / kSlotBytes;
inline constexpr size_t kSlotWords = kSlotBytes / kBlockAlignment / 64;

using Word = std::atomic<uint64_t>;
struct Slot {
  Word fresh[kSlotWords];
  Word candidates[kSlotWords];
  Word reached[kSlotWords];
};
static_assert(sizeof(Slot) == 96 * 1024);

/// Null while the mode is off; else kSlots of them, each of which can be touched once it is used.
TRI_INTERNAL extern constinit Slot* slots;
TRI_INTERNAL extern constinit std::atomic<bool> used[kSlots];  // acquire: pairs with the release in make_slots()
/// What owner_tp has besides the thread pointer: 0 or 1.
TRI_INTERNAL extern constinit uintptr_t owner_mark;

inline bool is_on() { return slots != nullptr; }

/// Switches the mode on, for good. False when there is no memory. Before the program has threads: blocks that they free to spans that they have already
/// are not held.
[[nodiscard]] bool switch_on();

enum class Put : uint8_t {
  kDone,
  kTwice,   // it is held already
  kNoRoom,  // it cannot be held: the caller frees it
};
/// Notes that the block at p is held, after clear(), which is not called if it cannot be. Any thread.
template <class Clear>
[[nodiscard]] inline Put put(const void* p, size_t bytes, Clear&& clear);
/// Whether the block at p is held. Any thread; any p.
bool is_held(const void* p);

/// Who looks. Called when there is reason to, by a thread that frees, without locks; may return without having done anything.
void set_looker(void (*look)());
/// Counts what put() took, for the trigger. May look: no lock may be held.
inline void count(size_t bytes);

// A huge block's memory goes to the OS when it is held. What it holds then is addresses, which count for less. Other large ones stay as they are, at full
// weight: clearing them, or their page faults when they are used again, would take longer than all else.
inline constexpr size_t kMinPurgedBytes = 128 * 1024;
constexpr size_t weight(size_t bytes) { return bytes < kMinPurgedBytes ? bytes : bytes / 16; }

// ---- for who looks: one thread at a time, of the program or one of the collector's

/// What the program has freed so far is a candidate from here on; nothing is reached.
void begin_look();
/// The addresses within which lies all that is held, for filtering.
void hull(uintptr_t* begin, size_t* bytes);
/// A word that may point into a held block. Any thread.
inline void reach(uintptr_t word);

/// Whether a word points into [p, p + bytes), a block that is held.
bool is_reached(const void* p, size_t bytes);
/// Whether all blocks of a small span that were ever handed out are held.
/// While nobody changes it.
bool holds_all(const Span* s);

struct Returned {
  size_t blocks = 0;
  size_t bytes = 0;
  size_t weight = 0;
};
/// Gives the candidates back that are not reached. Who has looked in another way says so of each that is not: is_kept(arg, block).
using IsKept = bool (*)(void* arg, const void* block);
Returned return_unreached(IsKept is_kept = nullptr, void* arg = nullptr);

/// Sum of the weights of what is held.
size_t held_bytes();
/// The next look is due when so many are held.
void set_trigger(size_t bytes);
size_t trigger();

/// For fork(): taken by who gives blocks back.
Lock& lock();

// ---- inline -------------------------------------------------------------------------------------------------------

// A thread counts up to so many bytes for itself.
inline constexpr size_t kCountedApart = 16 * 1024;

[[gnu::cold, gnu::noinline]] bool make_slots(size_t first, size_t last);
[[gnu::noinline]] void count_all(size_t bytes);
/// A block has become fresh that is a candidate as well: freed twice, or just moved from the one to the other.
struct Place;
[[gnu::cold, gnu::noinline]] Put put_again(const Place& at);

/// Where the bits of an address stand.
struct Place {
  size_t slot;
  size_t word;
  uint64_t bit;
  explicit Place(size_t offset)
      : slot(offset >> kSlotShift),
        word(offset / (kBlockAlignment * 64) % kSlotWords),
        bit(uint64_t{1} << (offset / kBlockAlignment % 64)) {}
};

template <class Clear>
[[gnu::always_inline]] inline Put put(const void* p, size_t bytes, Clear&& clear) {
  const size_t offset = reinterpret_cast<uintptr_t>(p) - pagemap::near_base;
  if (TRI_UNLIKELY(offset >= pagemap::near_pages << kPageShift)) return Put::kNoRoom;
  const Place at(offset);
  const size_t last = (offset + bytes - 1) >> kSlotShift;
  if (TRI_UNLIKELY(!used[at.slot].load(std::memory_order_acquire) || last != at.slot)) {
    if (!make_slots(at.slot, last)) return Put::kNoRoom;
  }
  Word& fresh = slots[at.slot].fresh[at.word];
  const Word& candidates = slots[at.slot].candidates[at.word];
  // acquire: pairs with the release in begin_look(), so that who finds the one bit gone finds the other.
  const uint64_t old = fresh.load(std::memory_order_acquire);
  if (TRI_UNLIKELY(((old | candidates.load(std::memory_order_relaxed)) & at.bit) != 0)) return Put::kTwice;
  clear();
  if (TRI_LIKELY(__libc_single_threaded)) {
    arch::set_bits_alone(&fresh, at.bit);
    return Put::kDone;
  }
  // Of two threads that free a block at once, one is told here. release: who gives the block back writes to it after what was written here.
  if (TRI_UNLIKELY((fresh.fetch_or(at.bit, std::memory_order_acq_rel) & at.bit) != 0)) return Put::kTwice;
  if (TRI_LIKELY((candidates.load(std::memory_order_relaxed) & at.bit) == 0)) return Put::kDone;
  return put_again(at);
}

[[gnu::always_inline]] inline void count(size_t bytes) {
  MCache* const mcache = current_mcache();
  if (TRI_UNLIKELY(mcache == &empty_mcache)) return count_all(bytes);
  mcache->held_bytes += bytes;
  if (TRI_LIKELY(mcache->held_bytes < kCountedApart)) return;
  bytes = mcache->held_bytes;
  mcache->held_bytes = 0;
  count_all(bytes);
}

[[gnu::always_inline]] inline void reach(uintptr_t word) {
  const size_t offset = word - pagemap::near_base;
  if (offset >= pagemap::near_pages << kPageShift) return;
  const Place at(offset);
  if (!used[at.slot].load(std::memory_order_relaxed)) return;
  Word& reached = slots[at.slot].reached[at.word];
  if ((reached.load(std::memory_order_relaxed) & at.bit) == 0) reached.fetch_or(at.bit, std::memory_order_relaxed);
}

}  // namespace tri::held

#endif
