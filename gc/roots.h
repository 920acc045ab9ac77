// roots.h - Where the program may keep pointers outside of its blocks.
//
// No thread, no mapping and no library has to register. While the world stands still (stop.h):
//
//   registers       of each thread that was stopped, vector registers included, as the kernel saved them; the caller's own
//   mappings        all that can be read and was written to: data of programs and libraries, stacks, thread-local storage, what the program
//                   mapped itself, private or shared, the break area, other allocators' heaps (memory_map.h)
//     but not       what is read-only of a file, blocks, which are reached or not (mheap.h), what the library keeps for itself (own_memory.h), and the dead part of a
//                   stack, below its thread's stack pointer, wherever it is certain that nothing else lies there
//   other roots     what a part of the library names itself: sched, of its goroutines (set_other_roots())
//   registered      ranges that the program names
//
// Not seen: pointers that are not stored as such (XOR, compressed, encrypted), or not in this process's memory (the kernel's, other processes').
//
// See gc.h for the overview. Used by: leaks, why, cycle.
#ifndef TRI_GC_ROOTS_H
#define TRI_GC_ROOTS_H

#include <cstddef>
#include <cstdint>

#include "gc/memory_map.h"
#include "gc/stop.h"

namespace tri::gc {

/// Memory that is a root only once something leads into it: a stack, and what belongs to whoever runs on it. See sleepers.h.
struct Sleeper {
  uint64_t id;  // what its part calls it
  const void* record;
  const void* record_end;
  const void* stack;
  const void* stack_end;
};

/// Takes roots: words that can be read until it returns.
struct RootVisitor {
  void (*fn)(void* arg, const void* begin, const void* end);
  void* arg;
  /// Takes those that sleep. Null: they are roots like all others.
  void (*sleeper)(void* arg, const Sleeper& s) = nullptr;
  void visit(const void* begin, const void* end) const { fn(arg, begin, end); }
};

/// A part of a mapping that holds roots. Most of it may never have been written to.
struct RootPart {
  Mapping mapping;
  uintptr_t begin;
  uintptr_t end;
  uintptr_t live;  // what lies below is dead: a stack's
};
struct PartVisitor {
  void (*fn)(void* arg, const RootPart& part);
  void* arg;
};

class Roots;
/// Visits what only that part knows of. Runs while the world stands still: no locks, no allocation.
using OtherRoots = void (*)(const Roots& roots, const RootVisitor& visitor);
void set_other_roots(OtherRoots others);

class Roots {
 public:
  /// Looks where they are. 0, -ENOMEM, or the errors of PageReader::open(). While the world stands still, and before the collector maps anything else for the cycle.
  /// Of the caller's stack, what lies from own_sp on is a root: above the collector's frames, which hold all kinds of addresses. 0 for a thread of the
  /// collector's own.
  [[nodiscard]] int find(uintptr_t own_sp);
  /// Visits all of them.
  void each(const RootVisitor& visitor);
  /// each() leaves out what threads that have ended left on their stacks. For who does not free what is not reached.
  void leave_out_ended_threads() { ended_count_ = false; }
  /// What each() is made of, for who has his own way to read mappings: registers, and what the program registered; the mappings' parts, and what of one
  /// was written to; those of other parts of the library alone.
  void visit_threads(const RootVisitor& visitor) const;
  void visit_registered(const RootVisitor& visitor) const;
  void each_part(const PartVisitor& visitor) const;
  void each_written(const Mapping& m, uintptr_t begin, uintptr_t end, const RootVisitor& visitor);
  void each_other(const RootVisitor& visitor) const;
  ~Roots();
  Roots() = default;
  Roots(const Roots&) = delete;
  Roots& operator=(const Roots&) = delete;

  /// The lowest stack pointer of a thread within [low, high), the caller's included; 0 if there is none. What lies below it is dead.
  uintptr_t lowest_sp_in(uintptr_t low, uintptr_t high) const;

  /// Calls fn(begin, end) for what can be read of [begin, end), part of the heap: programs protect pages of their blocks. If `sparse`, without what was never
  /// written. After find().
  template <class Fn>
  void each_readable(const void* begin, const void* end, bool sparse, Fn&& fn) {
    const auto from = reinterpret_cast<uintptr_t>(begin);
    const auto to = reinterpret_cast<uintptr_t>(end);
    for (const Mapping* m = first_behind(from); m != map_.end() && m->begin < to; ++m) {
      if (!m->readable) continue;
      const uintptr_t low = m->begin > from ? m->begin : from;
      const uintptr_t high = m->end < to ? m->end : to;
      if (sparse) {
        reader_.each_written(*m, low, high, fn);
      } else {
        fn(reinterpret_cast<const char*>(low), reinterpret_cast<const char*>(high));
      }
    }
  }

 private:
  struct Range {
    uintptr_t begin;
    uintptr_t end;
  };
  struct StackPointer {
    uintptr_t sp;
    uintptr_t thread_pointer;
  };

  /// The first mapping that ends behind p.
  const Mapping* first_behind(uintptr_t p);
  int collect_excluded();
  int collect_threads();
  uintptr_t dead_until(const Mapping* m) const;
  uintptr_t ended_until(const Mapping* m) const;
  template <class Fn>
  void each_part_of(const Mapping& m, Fn&& fn) const;

  MemoryMap map_;
  PageReader reader_;
  Range* excluded_ = nullptr;  // by address
  size_t excluded_count_ = 0;
  size_t excluded_room_ = 0;
  StackPointer* sps_ = nullptr;  // by address
  size_t sp_count_ = 0;
  size_t sp_room_ = 0;
  uintptr_t own_sp_ = 0;
  bool ended_count_ = true;
  const Mapping* last_asked_ = nullptr;
};

/// Ranges that the program registered. Any thread; -EINVAL: no range, or not one of them; -ENOMEM.
int add_root_range(const void* begin, size_t bytes);
int remove_root_range(const void* begin);

}  // namespace tri::gc

#endif
