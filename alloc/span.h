// span.h - A run of pages cut into blocks of one size, or holding one large block.
//
// Blocks of a small span lie against its end, so that block k (from 1) starts at origin + k * size, and origin + limit is
// the last. An *offset* is the distance from origin: it names a block in 32 bits. kNil, which is no multiple of 16, names
// none.
//
//   free list    free -> offset of the first free block; the first word of a free block holds (next offset) * key, key
//                being odd and random for each span, and (word) * inverse gives the offset back. Multiplication spreads
//                every change of the word over the result, so a word that a program wrote there decodes to more than
//                kMaxOffset (but for one chance in 2^47) and is found out before anything follows it. Likewise a block
//                about to be freed whose first word decodes to an offset is free already. malloc() clears the word.
//   carving      blocks join the free list a page at a time, as they are needed; only carved pages are in the
//                pagemap, so a pointer to a block never handed out leads to no span.
//   owner        the one thread that may touch free, countdown and the lists. Everyone else pushes to remote.
//   countdown    free() by the owner counts it down, and at 0 there is something to do:
//                  kCurrent  never (kNoCountdown, renewed)
//                  kFull     1: the first free makes the span useful again
//                  kPartial  number of blocks in use: at 0 the whole span is free
//   remote       the chain of blocks freed by other threads. Whoever makes it non-empty pushes
//                the span on the owner's notify stack: that place on the stack is a token, and only who takes the token
//                may empty the chain. So no chain is forgotten and no span is on two stacks.
//   hollow       others freed all blocks, and the owner, who has not collected for long, perhaps sleeps: whoever frees the
//                last block gives the pages back to the heap. No block is left that the owner could touch, and what it
//                finds where it expects the chain tells it that only the record is left, for it to drop.
//
//   blocks in use = carved - length(free) - count(remote) - those in other threads' batches
//
// Owned spans: the owner's thread. Orphans (owner null): the lock of their mcentral. Sampled: kSampler. Large: the block's holder.
#ifndef TRI_ALLOC_SPAN_H
#define TRI_ALLOC_SPAN_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/check.h"
#include "alloc/size_class.h"

namespace tri {

struct MCache;
struct SampledSites;
struct CollectedSpan;

enum class SpanKind : uint8_t {
  kNone,       // the span of all addresses that belong to none; or a record not in use
  kSmall,      // many blocks of one class
  kLarge,      // one block, pages of an arena
  kHuge,       // one block, a mapping of its own
  kCollected,  // as kSmall, but which blocks are free stands in bits beside it (collected.h)
};

enum class SpanPlace : uint8_t {
  kNowhere,  // being built or taken apart; large: the block is in use
  kCurrent,  // in its owner's mcache: malloc takes from it
  kPartial,  // on its owner's or its mcentral's list of spans with room
  kFull,     // on its owner's list of spans without; orphans: on no list
  kCached,   // large: free, in a thread's large cache; huge: in the heap's
};

// The end of a free list.
inline constexpr uint64_t kNil = 8;
static_assert(kNil % kBlockAlignment != 0);
// No offset is larger, in a span of any class.
inline constexpr uint64_t kMaxOffset = 128 * 1024;

/// A chain of free blocks, in one word, so that compare-and-swap can change it; offsets are in units of 16 bytes. The tail
/// is there so that a chain joins a list without a walk through blocks that are in another core's cache.
struct alignas(8) RemoteChain {
  uint16_t head_units = 0;
  uint16_t tail_units = 0;
  uint16_t count = 0;
  uint16_t unused = 0;  // padding would be compared, too, with whatever it holds

  static constexpr uint16_t kHollowCount = UINT16_MAX;
  bool is_hollow() const { return count == kHollowCount; }
  static RemoteChain hollow() { return {0, 0, kHollowCount, 0}; }

  uint64_t head() const { return count == 0 ? kNil : uint64_t{head_units} * kBlockAlignment; }
  uint64_t tail() const { return uint64_t{tail_units} * kBlockAlignment; }
  static RemoteChain make(uint64_t head, uint64_t tail, uint64_t count) {
    return {static_cast<uint16_t>(head / kBlockAlignment), static_cast<uint16_t>(tail / kBlockAlignment),
            static_cast<uint16_t>(count), 0};
  }
};
static_assert(kMaxOffset / kBlockAlignment <= UINT16_MAX, "the last offset of the largest span fits");
static_assert(class_capacity(0) < RemoteChain::kHollowCount);

inline constexpr int32_t kNoCountdown = INT32_MAX;

struct alignas(128) Span {
  // What the fast paths touch: one cache line.
  uint64_t free = kNil;    // owner
  char* origin = nullptr;  // constant while in use, as all to reciprocal_bound
  union {
    uint64_t key = 0;
    uint64_t site;  // kLarge, kHuge: where the block was allocated (sampler.h); the block's holder
  };
  uint64_t inverse = 0;                // key * inverse == 1 modulo 2^64
  uint64_t reciprocal = 0;             // ceil(2^64 / size): offset * reciprocal < it only for multiples of size
  uint64_t reciprocal_bound = 0;       // the same again: a second memory operand is cheaper than a register
  std::atomic<uintptr_t> owner_tp{0};  // the owner's thread pointer, 0 without; written with owner
  int32_t countdown = 0;               // owner
  uint16_t size = 0;                   // of a block; kLarge and kHuge: 0
  uint16_t least = 0;                  // the smallest request that takes a block of this size

  // The rest: another.
  std::atomic<RemoteChain> remote{RemoteChain{}};  // any thread; see above
  std::atomic<MCache*> owner{nullptr};             // changes under the mcentral's lock; any thread reads
  Span* next = nullptr;                            // List: owner or mcentral; FixAlloc
  Span* prev = nullptr;
  union {
    Span* notify_next = nullptr;  // the notify stack's
    SampledSites* sampled_sites;  // is_sampled: its blocks' sites; kSampler
    CollectedSpan* collected;     // is_collected: constant while in use
  };
  char* start = nullptr;      // constant while in use
  size_t bytes = 0;           // constant while in use; kHuge: as mapped
  uint16_t carved = 0;        // owner; blocks that ever joined the free list
  uint16_t mapped_pages = 0;  // owner; pages from start that are in the pagemap
  SizeClass size_class = 0;
  bool needs_zero : 1 = false;  // kLarge, kHuge: the pages may hold old contents
  bool is_sampled : 1 = false;  // the sampler's (sampler.h): never owned
  bool pointer_free : 1 =
      false;  // no block holds pointers: a collector looks into none. Who makes the span sets it; freed, it is forgotten
  bool is_collected : 1 = false;  // a collector frees its blocks: collected.h. As pointer_free
  SpanKind kind = SpanKind::kNone;
  SpanPlace place = SpanPlace::kNowhere;  // owner

  /// The offset of the last block.
  uint64_t limit() const { return static_cast<uint64_t>(end() - origin) - size; }
  uint32_t capacity() const { return static_cast<uint32_t>(limit() / size); }  // blocks
  size_t pages() const { return bytes >> kPageShift; }
  char* end() const { return start + bytes; }
  bool contains(const void* p) const { return p >= start && p < end(); }

  uint64_t offset_of(const void* p) const { return static_cast<uint64_t>(static_cast<const char*>(p) - origin); }
  char* block_at(uint64_t offset) const { return origin + offset; }
  /// True for the offset of a block, carved or not.
  bool is_block(uint64_t offset) const {
    return offset - 1 < kMaxOffset && offset * reciprocal < reciprocal_bound && offset <= limit();
  }

  bool has_free() const { return free > kNil; }
  uint64_t load_link(const void* block) const { return *static_cast<const uint64_t*>(block) * inverse; }
  void store_link(void* block, uint64_t next_offset) const { *static_cast<uint64_t*>(block) = next_offset * key; }
  /// Whether what load_link() gave can be a link: an offset or kNil. 0, which zeroed memory decodes to, is not.
  static bool may_be_link(uint64_t link) { return link - 1 < kMaxOffset; }
  /// Whether it is one.
  bool is_link(uint64_t link) const { return link == kNil || is_block(link); }

  /// Blocks on the free list, at most capacity; stops at a link that is none. For the owner; others get a guess.
  uint32_t free_length() const;
  /// Puts a chain, not empty, in front of the free list. Owner, or mcentral for orphans.
  void splice(const RemoteChain& chain) {
    store_link(block_at(chain.tail()), free);
    free = chain.head();
  }
  /// Reports an overwritten link in the first free block, or one of zeros in the block before it, which has been handed
  /// out: 0 is the one word that decodes to less than an offset. The list is empty then, if the report returns.
  void check_first();
  /// Makes at least one more block free; false when all are carved.
  bool carve();
  bool fully_carved() const { return uint64_t{carved} * size == limit(); }
  /// Checks the equations above that its owner can check.
  void verify() const;
};

static_assert(offsetof(Span, remote) == 64, "the fast paths touch one cache line");
static_assert(sizeof(Span) == 128, "two lines, which some processors fetch together: no neighbour shares them");
static_assert(class_capacity(0) <= UINT16_MAX);
static_assert(kMaxSmallSize <= UINT16_MAX);
static_assert(std::atomic<RemoteChain>::is_always_lock_free);

/// Sets up `s` as a small span of this class over its pages (start and bytes are set).
void init_small_span(Span* s, unsigned size_class, uint64_t key);

/// Where a thread without an mcache and a class without a span look: nothing free, so the slow path follows.
TRI_INTERNAL extern constinit Span empty_span;
/// Where the pagemap leads for addresses without a span: owned by nobody, so the slow path follows.
TRI_INTERNAL extern constinit Span null_span;

/// A link was zeroed in a block that has been handed out since. Reports that and aborts, or returns kNil.
[[gnu::cold, gnu::noinline]] uint64_t zeroed_link(const Span* s);
/// The link in free block `block` decodes to no offset: somebody wrote to it. Reports that and aborts; where checks are
/// switched off, returns kNil, so that the list ends here.
[[gnu::cold, gnu::noinline]] uint64_t corrupt_link(const Span* s, const void* block);

}  // namespace tri

#endif
