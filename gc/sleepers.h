// sleepers.h - Who waits for something that nothing can ever reach: goroutines that sleep for good.
//
// Whoever wakes a goroutine comes to it by what it waits for: a channel, a lock, a context holds a queue, and that leads to an
// entry on the stack of the one who waits. So its stack is taken for a block like any other, not for a root: if a word in reachable memory leads
// into it, somebody may still wake it, and then what stands on the stack is reached, too. Those whose stacks nothing leads into
// wait for good. (Go's leak profile asks of each goroutine what objects it waits for; here a pointer will do, and each kind
// of wait is covered, those of the program's own making as well.)
//
//   a goroutine's record is looked at once its stack was reached: it leads to what the goroutine owns, and to who joins it
//
// What the sleepers themselves hold is no leak of its own: their stacks are roots in the end, and they are reported instead.
// Conservative: a stale word that leads into the stack hides one.
//
// See gc.h for the overview. Used by: leaks.
#ifndef TRI_GC_SLEEPERS_H
#define TRI_GC_SLEEPERS_H

#include <cstddef>
#include <cstdint>

#include "gc/marker.h"
#include "gc/roots.h"
#include "gc/shadow.h"

namespace tri::gc {

class Sleepers {
 public:
  Sleepers() = default;
  ~Sleepers();
  Sleepers(const Sleepers&) = delete;
  Sleepers& operator=(const Sleepers&) = delete;

  /// Before anything is marked: who sleeps, and where. 0 or -ENOMEM. The shadow refers to this until its end().
  [[nodiscard]] int find(const Roots& roots, Shadow& shadow);
  /// All other roots are marked: now those that they lead to, by way of each other as well, and then the rest, which waits for good.
  void mark(Marker& marker);

  size_t count() const { return lost_; }  // of those that wait for good
  /// Theirs, in no order.
  uint64_t id(size_t i) const { return sleepers_[i].id; }
  /// Blocks that only they hold.
  size_t held_blocks() const { return held_blocks_; }
  size_t held_bytes() const { return held_bytes_; }

 private:
  void scan(Marker& marker, size_t i) const;

  Sleeper* sleepers_ = nullptr;  // by address of the stack; after mark() those that are lost come first
  Shadow::Outside* stacks_ = nullptr;
  size_t count_ = 0;
  size_t room_ = 0;
  size_t lost_ = 0;
  size_t held_blocks_ = 0;
  size_t held_bytes_ = 0;
};

}  // namespace tri::gc

#endif
