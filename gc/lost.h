// lost.h - How blocks that nothing reaches hang together: which of them were lost, and which only hang on those.
//
// A lost block is direct if no other lost block points to it. What a direct one leads to is indirect, and is counted with one direct leak
// that leads to it. What is left then is in circles, or hangs on them: of each circle that no other one leads to, one block is direct, and the
// rest hangs on it. So each lost block is counted once.
//
// Blocks are many and lie in random order, so no leak is followed by itself: that would be one miss of the cache after the other.
// All of them are followed at once, by all processors, and who comes to a block first notes whose it is:
//
// Which is done as in marker.h, by units, first in, first out: the next unit's blocks lie together, whoever's they are.
//
//   grey, mark      once they are numbered: it is somebody's; and it was followed
//   number          that of the first lost block of the unit, and how many of the unit come before it
//   label[number]   the leak that it is counted with. Changes once, by compare and swap
//
//   1  all lost blocks are read, in order; what they point to is not direct
//   2  each direct one gets a label, and all are followed at once
//   3  circles are taken from wherever somebody comes to one first, each by one thread. Who meets another's label has found that the two hang
//      together, or are one: both are taken back. So they are if one is too large for one thread
//   4  what was taken back is followed in order, one after the other, a large one by all processors. A label that is met again stands for
//      blocks that the later one leads to; if there are any, all is taken back once more and followed in reverse order: nothing that comes
//      before leads to the last one, or it would have been followed from there, and so on. What has no label when its turn comes is in a circle
//      that nothing else leads to. (Kosaraju's and Sharir's way to find strongly connected components has the same two turns.)
//
// The world stands still. No locks but the queue's. See gc.h for the overview. Used by: leaks.
#ifndef TRI_GC_LOST_H
#define TRI_GC_LOST_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gc/mark_queue.h"
#include "gc/shadow.h"

namespace tri::gc {

struct Leak {
  const void* block;
  size_t bytes;            // usable
  size_t indirect_blocks;  // what hangs on it
  size_t indirect_bytes;
};

class LostBlocks {
 public:
  /// All that is reached is marked; marks and grey bits are changed.
  LostBlocks(Shadow& shadow, unsigned processors)
      : shadow_(shadow), markers_(shadow.blocks() < kWorthThreads ? 1 : processors) {}
  ~LostBlocks();
  LostBlocks(const LostBlocks&) = delete;
  LostBlocks& operator=(const LostBlocks&) = delete;

  /// 0 or -ENOMEM. Once.
  [[nodiscard]] int find();
  /// The direct ones, by address, are the caller's from now on: an array for unmap_own_array() with *room elements, of which *count are there.
  Leak* take(size_t* count, size_t* room);

 private:
  friend class LostFollower;
  using Label = std::atomic<uint32_t>;
  // Fewer blocks are not worth a thread.
  static constexpr size_t kWorthThreads = 100'000;
  /// What of a unit was lost, which does not change any more.
  struct UnitInfo {
    uint64_t lost;
    uint32_t first;  // the number of its first
    bool pointer_free;
  };
  static_assert(sizeof(UnitInfo) == 16);
  // Of a piece of the tables: how many there are of both, and then how many come before.
  struct Counts {
    size_t lost;
    size_t direct;
  };

  template <class Fn>
  void each_piece(Fn&& fn);
  template <class Fn>
  void each_lost(size_t piece, Fn&& fn) const;
  void mark_targets(size_t piece);
  void number(size_t piece);
  bool get_memory();
  bool follow_direct();
  template <class Fn>
  void follow_by_all(class LostFollower& own, MarkQueue& queue, Fn&& more);
  bool try_circles();
  bool follow_circles();
  bool follow_in_order();
  void take_back(bool all);
  void count();
  void put_in_order();

  size_t number_of(Shadow::Slot slot) const;
  UnitInfo& unit_info(Shadow::Unit u) const;
  uint32_t label_of(size_t number) const;
  [[nodiscard]] bool claim_root(Shadow::Slot slot, uint32_t label);
  [[nodiscard]] bool claim(Shadow::Slot slot, uint32_t label);
  void disclaim(Shadow::Slot slot, size_t number);
  Shadow::Slot slot_of(const Leak& l) const;
  Leak& leak(uint32_t label) const { return leaks_[label - 1]; }
  uint32_t new_label(Shadow::Slot root);
  /// While circles are followed: their leaks that are to be taken back.
  std::atomic_ref<size_t> taken_back(uint32_t label) const {
    return std::atomic_ref<size_t>(leak(label).indirect_blocks);
  }

  Shadow& shadow_;
  const unsigned markers_;
  Counts* pieces_ = nullptr;
  size_t piece_count_ = 0;
  size_t lost_ = 0;
  size_t direct_ = 0;
  UnitInfo* units_ = nullptr;  // of the window, by their numbers
  UnitInfo* far_units_ = nullptr;
  Label* labels_ = nullptr;  // of lost_
  Leak* leaks_ = nullptr;    // of lost_; those of `labels_used_` are there. No block: it was none
  std::atomic<uint32_t> labels_used_{0};
  std::atomic<bool> met_{false};
  std::atomic<bool> too_large_{false};
  std::atomic<bool> no_memory_{false};
};

}  // namespace tri::gc

#endif
