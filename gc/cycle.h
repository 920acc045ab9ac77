// cycle.h - One marking of everything that the program can reach, while it runs.
//
// No compiler has put a barrier into the program. So the kernel says which pages it writes to (dirty.h), and what was scanned before it was written is
// scanned again (Boehm, Demers and Shenker's mostly parallel collection, PLDI 1991):
//
//   prepare      tables of the heap (shadow.h); addresses of blocks stay readable from here to the end; pages are watched
//   first stop   short: where the roots are, and what is in registers
//   mark         concurrently: roots by copies, for the program may unmap them at any moment, and all that they lead to
//   rounds       concurrently: what was written meanwhile, until little is left or it grows no less
//   last stop    the roots of this moment: registers and stacks, other parts', and pages written since the last round, of mappings and of the heap.
//                What they lead to; then everything reachable is marked
//
// Equations, at the end of the last stop, for every block B that a word in a root or in a marked block A means:
//   B is in the tables and marked, or its span came after the tables were made: nothing is said about such a span, so that it survives
//   and all of its pages, which were written since, were scanned
// for the word was either read after its page was last written, or is on a page that was found written, and read then. So no block
// has to be black from birth. One that was allocated during the cycle and lost again is found dead like any other.
//
// Where pages cannot be watched (dirty.h says when), or address space is limited so that addresses cannot be kept, and when anything fails on the way, the world is stopped
// for all of it instead. why_full says so.
//
// One cycle at a time in a process. It runs on the thread that calls run(), which may be one of the collector's own (worker.h).
//
// See gc.h for the overview. Used by: gc, quarantine.
#ifndef TRI_GC_CYCLE_H
#define TRI_GC_CYCLE_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/mheap.h"
#include "gc/dirty.h"
#include "gc/mark_team.h"
#include "gc/page_copies.h"
#include "gc/roots.h"
#include "gc/shadow.h"

namespace tri::gc {

/// Whose cycle it is. All of them may be null; they take no lock of the allocator's and allocate nothing.
struct CycleClient {
  /// In the first stop (of a full stop: at its beginning): the tables are made, nothing is marked. Once more if the world has to be stopped after all.
  void (*at_begin)(void* arg, Shadow& shadow) = nullptr;
  /// In each stop: further roots.
  void (*add_roots)(void* arg, Marker& marker) = nullptr;
  /// Beside the program: what the roots led to is marked; what was written meanwhile is not. Not in a cycle that is one stop.
  void (*at_marked)(void* arg) = nullptr;
  /// In the last stop: everything reachable is marked. May take the tables over, and leave an empty shadow. Not called if the cycle fails.
  void (*at_end)(void* arg, Shadow& shadow) = nullptr;
  void* arg = nullptr;
};

struct CycleOptions {
  bool concurrent = true;
  unsigned markers = 1;       // while the program runs
  unsigned stop_markers = 0;  // while it stands; 0: one for each processor
  bool verify = false;  // mark once more at the end, with the world stopped, and end the program if a block was missed
};

struct CycleStats {
  int why_full = 0;  // negative errno of what could not be had; 0: concurrent
  int64_t prepare_ns = 0;
  int64_t first_stop_ns = 0;  // from the first signal to the last thread gone on
  int64_t concurrent_ns = 0;  // between the two, rounds included
  int64_t last_stop_ns = 0;
  uint32_t rounds = 0;
  size_t first_pages = 0;  // written, in the first round and in the last stop
  size_t last_pages = 0;
  uint64_t marked_blocks = 0;
  uint64_t marked_bytes = 0;
  uint64_t root_bytes = 0;  // scanned beside the heap
  int64_t others_ns = 0;    // CPU time of all markers but the caller
  unsigned markers = 0;     // at most, at a time
  size_t unstopped = 0;     // threads that could not be stopped
};

class Cycle {
 public:
  explicit Cycle(const CycleOptions& options) : options_(options) {}
  ~Cycle() { end(); }
  Cycle(const Cycle&) = delete;
  Cycle& operator=(const Cycle&) = delete;

  /// All of it. 0, or nothing is known: -EAGAIN: another cycle runs, which a thread of the collector's waits for, or the caller interrupted the allocator; -EBUSY: a thread could not be stopped, and may hold anything; -ENOMEM: no memory for the tables; the errors of stop_world()
  /// and Roots::find(). own_sp: of below_program(), or 0 for one of the collector's threads. Once.
  [[nodiscard]] int run(const CycleClient& client, uintptr_t own_sp);
  /// With the marks of run(), until end().
  Shadow& shadow() { return shadow_; }
  const CycleStats& stats() const { return stats_; }
  /// Gives the tables back.
  void end() { shadow_.end(); }

  /// In a forked child: no cycle runs, whatever the parent was at.
  static void reset_after_fork();

 private:
  struct Range {
    uintptr_t begin;
    uintptr_t end;
  };
  /// Of the heap; copy: what was scanned of it before, or null.
  struct WrittenPage {
    uintptr_t begin;
    uintptr_t* copy;
  };
  template <class T>
  struct Array {
    T* items = nullptr;
    size_t count = 0;
    size_t room = 0;
    [[nodiscard]] bool make(size_t n);
    bool add(const T& item) { return count < room ? (items[count++] = item, true) : false; }
    void release();
    T* begin() const { return items; }
    T* end() const { return items + count; }
  };

  int run_concurrently(const CycleClient& client, uintptr_t own_sp);
  int run_stopped(const CycleClient& client, uintptr_t own_sp);
  int watch_all();
  int first_stop(const CycleClient& client, uintptr_t own_sp, MarkTeam& team);
  int mark_beside_program(MarkTeam& team);
  int rounds();
  int last_stop(const CycleClient& client, uintptr_t own_sp);
  struct LastStop;
  int scan_last_roots(LastStop* stop, Marker& marker);
  int scan_last_part(LastStop& stop, const RootPart& p, const RootVisitor& visitor);
  static void prefetch_page(const WrittenPage& w);
  static void scan_page(Marker& marker, const WrittenPage& w);
  static size_t pieces_in(const Range& r);
  void mark_all(Roots& roots, const CycleClient& client);
  [[nodiscard]] int list_heap();
  [[nodiscard]] int list_parts(const Roots& roots);
  [[nodiscard]] int list_others(const Roots& roots);
  [[nodiscard]] int harvest_heap();
  static void take_written(void* cycle, Marker& marker);
  static void harvest_last(void* cycle, Marker& marker);
  [[nodiscard]] int check_stopped();
  void count(const MarkTeam& team);
  void verify(Roots& roots, const CycleClient& client);

  CycleOptions options_;
  CycleStats stats_;
  Shadow shadow_;
  HeapObserver observer_ = {};
  DirtyPages dirty_;
  Array<Range> heap_;  // by address, neighbours joined
  Array<WrittenPage> written_;
  PageCopies copies_;
  Array<RootPart> parts_;  // of the program's mappings, as the first stop saw them
  Array<Range> others_;    // roots of other parts, likewise
  // What markers take their parts of: written_, or in the last stop the heap in pieces. relaxed: it only gives out numbers.
  std::atomic<size_t> next_part_{0};
  std::atomic<size_t> last_pages_{0};  // of the heap, relaxed, as the next: read when the markers are gone
  std::atomic<int> last_error_{0};
};

}  // namespace tri::gc

#endif
