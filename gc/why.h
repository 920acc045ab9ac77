// why.h - Why a block is still there: the shortest chain of references that leads to it from a root.
//
// The world stands still. Blocks are visited in breadth, from all roots at once, and of each it is noted which word of which block led
// to it first; so the first way to the block that is asked for is one of the shortest, and is read backwards. The notes take 24 bytes
// for each block that is visited.
//
// Who asks has the block in a variable of his own, as a rule: what stands on the caller's stack near its top counts only if nothing else
// leads to the block.
//
// See gc.h for the overview. Used by: shim.
#ifndef TRI_GC_WHY_H
#define TRI_GC_WHY_H

#include <cstddef>
#include <cstdint>

#include "gc/roots.h"
#include "gc/shadow.h"

namespace tri::gc {

class Why {
 public:
  /// Where the first reference stands.
  enum class RootKind : uint8_t { kRegister, kStack, kThreadLocal, kOwnStack, kRegistered, kMapping };
  struct Root {
    RootKind kind;
    uint32_t thread;  // the kernel's id, for the first three
    uintptr_t at;     // of the word; 0: it is not in memory just now
  };
  struct Step {
    uintptr_t block;
    size_t bytes;
    uintptr_t word;  // from where the next block is led to; 0 in the last
  };

  Why() = default;
  ~Why();
  Why(const Why&) = delete;
  Why& operator=(const Why&) = delete;

  /// Looks, with sp of below_program(). How many blocks the chain has, the last being p's; 0: nothing reaches it; -EINVAL: p points into no block
  /// that is in use; else the errors of Leaks::find(). Once.
  [[nodiscard]] long find(const void* p, uintptr_t sp);

  const Root& root() const { return root_; }
  /// Calls fn(const Step&) from the root to the block.
  template <class Fn>
  void each_step(Fn&& fn) const {
    for (uint32_t i = first_; i != kNone; i = notes_[i].link) {
      const uint32_t next = notes_[i].link;
      fn(Step{notes_[i].block, bytes_of(i), next == kNone ? 0 : notes_[i].block + notes_[next].from});
    }
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Note {
    uintptr_t block;
    uint64_t from;  // the word that led here: its offset in the block before, or its address
    uint32_t link;  // the block before; turned round once the chain is known
  };
  size_t bytes_of(uint32_t i) const;

  long find_stopped(uintptr_t word, uintptr_t sp);
  bool search(Roots& roots, Shadow& shadow, uintptr_t sp);
  void scan(const Shadow& shadow, uintptr_t begin, uintptr_t end, uint32_t from);
  void note(uintptr_t block, uint64_t from, uint32_t link);
  long turn_round(uint32_t last);
  void classify(uintptr_t at, uintptr_t sp);

  Root root_ = {};
  Note* notes_ = nullptr;
  size_t room_ = 0;
  size_t count_ = 0;
  uint32_t first_ = kNone;
  uint32_t found_ = kNone;
  uintptr_t target_ = 0;
  uintptr_t own_sp_ = 0;
  uintptr_t own_word_ = 0;
};

}  // namespace tri::gc

#endif
