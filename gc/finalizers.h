// finalizers.h - Functions that get a block which nothing reaches any more, and words that are cleared when a block is lost.
//
// A cleanup (attached.h) comes after its block, which is gone. A finalizer gets the block, with all that it leads to, and may even keep it: so the block lives for one
// cycle more. Both are there because each is the only one that some runtimes know; Go has come from the second to the first.
//
// All is settled in the stop at the end of a marking, as programs read linked words by themselves at any time: afterwards a word is either 0, or
// its block is kept. In this order, after Boehm's collector, whose interface this serves:
//
//   1  short links of blocks that are not marked are cleared
//   2  what blocks with an ordered finalizer lead to is marked, but not the blocks themselves, unless another leads to them
//   3  finalizers of blocks that are not marked are due; of ordered ones, those of the outermost. Of a ring, none ever is
//   4  these blocks are marked, and what they lead to
//   5  long links of blocks that are still not marked are cleared
//   -  a link that stands in a block which is not marked is forgotten
//
// The stop takes 10 ns longer for each finalizer and link, and as long as it takes to mark what is only reached by way of blocks that are lost. Who has hundreds of thousands of them
// wants cleanups and weak references.
//
// Addresses stand in the tables upside down, so that they keep nothing, until a finalizer is due; arguments stand there as they are. Any thread; under the
// lock that guards what hangs on blocks. See gc.h for the overview. Used by: heap, gc, shim.
#ifndef TRI_GC_FINALIZERS_H
#define TRI_GC_FINALIZERS_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gc/shadow.h"

namespace tri::gc {

/// By address, upside down: open addressing in memory of its own. What is searched like any other of the program's.
template <class Entry>
struct HiddenTable {
  static constexpr uintptr_t kFree = 0;
  static constexpr uintptr_t kGone = 1;  // no address: they are aligned, so that their inverses end in ones

  Entry* entries = nullptr;
  size_t room = 0;  // a power of two
  size_t used = 0;  // gone ones included
  size_t live = 0;

  static uintptr_t key_of(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }
  static void* address_of(const Entry& e) { return reinterpret_cast<void*>(~e.key); }
  Entry* find(const void* p);
  /// For one more. False if there is no memory.
  [[nodiscard]] bool make_room();
  void put(const Entry& e);
  void remove(Entry* e) {
    *e = {};
    e->key = kGone;
    --live;
  }
  template <class Fn>
  void each(Fn&& fn) {
    for (size_t i = 0; i < room; ++i) {
      if (entries[i].key > kGone) fn(entries[i]);
    }
  }
};

class Finalizers {
 public:
  using Fn = void (*)(void* block, void* arg);
  enum class Order : uint8_t {
    kOutermost,   // not before those of blocks that lead here
    kIgnoreSelf,  // likewise, but the block's own pointers to itself do not count
    kAny,
  };
  struct Finalizer {
    Fn fn = nullptr;  // null: none
    void* arg = nullptr;
  };
  enum LinkKind : uint8_t { kShort, kLong };

  /// A block has one at most; *old is the one before. 0; -EINVAL: no collected block begins there; -ENOMEM.
  int set(const void* block, Order order, Finalizer f, Finalizer* old);
  /// *at is cleared when the block is lost; a word has one link of each kind at most, and the last one counts. Whether there was one: 0 or 1; -EINVAL: `at` is
  /// no place for a pointer, or the block is null; -ENOMEM.
  int link(void** at, const void* block, LinkKind kind);
  /// False if there is none.
  bool unlink(void** at, LinkKind kind);
  /// 0; -ENOENT: there is none; -EEXIST: there is one already at `to`; -ENOMEM.
  int move_link(void** from, void** to, LinkKind kind);

  struct Due {
    void* block;
    Fn fn;
    void* arg;
  };
  /// One that is due, which is no longer then. False if there is none.
  bool take(Due* out);
  size_t due() const { return due_count_.load(std::memory_order_relaxed); }

  // ---- the collector
  /// While the world stands still with nobody in the middle of anything, and everything reachable is marked.
  void settle(const Shadow& shadow);
  /// A block was freed by hand: it has no finalizer any more.
  void block_freed(const void* block) {
    if (any_.load(std::memory_order_relaxed)) drop(block);
  }

 private:
  struct Entry {
    uintptr_t key = 0;
    Fn fn = nullptr;
    void* arg = nullptr;
    Order order = Order::kAny;
  };
  struct Link {
    uintptr_t key = 0;      // of the word
    uintptr_t inverse = 0;  // of the block's address
  };

  [[nodiscard]] bool make_due_room();
  void drop(const void* block);
  void clear_links(const Shadow& shadow, LinkKind kind);
  void forget_links(const Shadow& shadow, LinkKind kind);

  std::atomic<bool> any_{false};
  std::atomic<size_t> due_count_{0};
  HiddenTable<Entry> table_;
  HiddenTable<Link> links_[2];
  // A ring with room for all that are in the table, so that settle() needs no memory.
  Due* due_ = nullptr;
  size_t due_room_ = 0;
  size_t due_head_ = 0;
  size_t due_tail_ = 0;
};
extern constinit Finalizers finalizers;

}  // namespace tri::gc

#endif
