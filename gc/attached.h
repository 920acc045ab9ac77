// attached.h - What hangs on a collected block: weak references, cleanups, pins.
//
// One table by the block's address, which stands in it upside down, so that nothing here keeps a block. The table itself is memory like
// any other of the program's, so what a cleanup is called with is reached from it. A pin is the opposite: a table of addresses as they are.
//
// When a marking has ended, each entry is settled before anything is swept by the collector's thread, while the program runs: the marks are still
// there, and nothing of it is done in the stop. Until then, who asks a weak reference looks at the mark himself, so it never gives a block
// that is about to be collected.
//
//   since    the last cycle whose marks say nothing about the block: it was new then, or the entry was
//
// A block that is freed by hand loses its entries: weak references are empty, cleanups do not run.
//
// Any thread; under the lock of the heap's caches. See gc.h for the overview. Used by: heap, gc, shim.
#ifndef TRI_GC_ATTACHED_H
#define TRI_GC_ATTACHED_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tri::gc {

/// A weak reference. Never freed, only used again.
struct Weak {
  Weak* next = nullptr;   // not in use
  uintptr_t inverse = 0;  // of the block's address; 0: it is gone
  uint32_t since = 0;
};

class Attached {
 public:
  using Fn = void (*)(void* arg);

  /// 0; -EINVAL: no collected block begins there; -ENOMEM.
  int add_cleanup(const void* block, Fn fn, void* arg);
  /// Null: the same two.
  Weak* new_weak(const void* block);
  void* get(const Weak* w);
  void free_weak(Weak* w);
  /// Pins nest. 0; -EINVAL: no block, or not pinned; -ENOMEM.
  int pin(const void* block);
  int unpin(const void* block);

  /// A cleanup that is due. False if there is none.
  bool take(Fn* fn, void** arg);
  /// Waits until there may be one.
  void wait();
  /// Cleanups that have been added and not run.
  size_t cleanups() const { return cleanups_.load(std::memory_order_relaxed); }

  // ---- the collector
  /// After a marking, before the sweep.
  void settle();
  /// A block was freed by hand.
  void block_freed(const void* block) {
    if (any_.load(std::memory_order_relaxed)) drop(block);
  }

 private:
  struct Entry {
    uintptr_t inverse;  // kFree, kGone, or a block
    Weak* weak;         // else a cleanup
    Fn fn;
    void* arg;
    uint32_t since;
  };
  struct Due {
    Fn fn;
    void* arg;
  };
  struct Pin {
    const void* block;
    size_t count;
  };
  static constexpr uintptr_t kFree = 0;
  static constexpr uintptr_t kGone = 1;  // no block: they are aligned, so that their inverses end in ones

  template <class Fn2>
  void each_of(const void* block, Fn2&& fn);
  bool make_room();
  bool insert(const void* block, const Entry& e);
  void put(const Entry& e);
  void remove(Entry* e);
  void drop(const void* block);
  bool is_dead(uintptr_t inverse, uint32_t since) const;

  std::atomic<bool> any_{false};
  std::atomic<size_t> cleanups_{0};
  std::atomic<uint32_t> news_{0};  // cleanups that became due; futex
  Entry* table_ = nullptr;
  size_t room_ = 0;     // a power of two
  size_t used_ = 0;     // entries, gone ones included
  Due* due_ = nullptr;  // a ring of room_
  size_t due_head_ = 0;
  size_t due_tail_ = 0;
  uint32_t settled_ = 0;  // the cycle whose marks all entries have taken
  Weak* free_weaks_ = nullptr;
  Pin* pins_ = nullptr;
  size_t pin_count_ = 0;
  size_t pin_room_ = 0;
};
extern constinit Attached attached;

}  // namespace tri::gc

#endif
