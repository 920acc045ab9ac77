// cycle.cc - See cycle.h.
#include "gc/cycle.h"

#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/memory_map.h"
#include "gc/own_map.h"
#include "gc/stop.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

// A round is worth its time as long as it finds this many pages: they take some 0.2 ms in the last stop ...
constexpr size_t kFewPages = 64;
// ... and as long as there are clearly fewer than in the round before. Against a program that writes as fast as it can there is no such round.
constexpr uint32_t kMostRounds = 8;
// In the last stop the heap is given out to markers in pieces of this size: the kernel looks through one in 40 us.
constexpr size_t kPieceBytes = size_t{64} << 20;
// Copies of pages (page_copies.h): a 32nd of the heap, 1 to 64 MiB.
constexpr size_t kCopiedShare = 32;
constexpr size_t kFewestCopies = 256;
constexpr size_t kMostCopies = 16384;
// Written pages are given out to markers so many at a time.
constexpr size_t kPagesTaken = 16;
// While protection is taken back, page faults of the program wait: 0.6 ms for so much.
constexpr size_t kUnwatchBytes = size_t{64} << 20;

// How often who waits for another's cycle to end looks.
constexpr int64_t kTurn = 1'000'000;

constinit std::atomic<Cycle*> running{nullptr};

int64_t precise_ns() {
  timespec t = {};
  arch::system_call(SYS_clock_gettime, CLOCK_MONOTONIC, reinterpret_cast<long>(&t));
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

uint64_t length(const void* begin, const void* end) {
  return static_cast<uint64_t>(static_cast<const char*>(end) - static_cast<const char*>(begin));
}

/// Scans what it visits, at once, and counts it.
struct Scanner {
  Marker& marker;
  uint64_t bytes = 0;
  RootVisitor visitor() {
    return {[](void* arg, const void* begin, const void* end) {
              auto* const self = static_cast<Scanner*>(arg);
              self->marker.scan_roots(begin, end);
              self->bytes += length(begin, end);
            },
            this};
  }
};

/// Holds the world, and measures for how long.
class Stop {
 public:
  explicit Stop(int64_t* ns) : ns_(ns), began_(precise_ns()), error_(stop_world(lock_allocator, unlock_allocator)) {}
  ~Stop() { resume(); }
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;
  int error() const { return error_; }
  void resume() {
    if (error_ != 0) return;
    resume_world();
    error_ = -EINVAL;
    *ns_ = precise_ns() - began_;
  }

 private:
  int64_t* ns_;
  int64_t began_;
  int error_;
};

}  // namespace

struct Cycle::LastStop {
  Cycle& cycle;
  const CycleClient& client;
  uintptr_t own_sp;
  const Marker* own;
  Roots roots = {};
  MemoryCopier copier = {};
};

// ---- lists ------------------------------------------------------------------------------------------------------------

template <class T>
bool Cycle::Array<T>::make(size_t n) {
  count = 0;
  if (n <= room) return true;
  release();
  items = map_own_array<T>(n);
  if (items == nullptr) return false;
  room = n;
  return true;
}

template <class T>
void Cycle::Array<T>::release() {
  unmap_own_array(items, room);
  items = nullptr;
  count = room = 0;
}

/// Fills a list from each(fn), which calls fn(item) for all of them, as often as it is called.
template <class T, class Each>
static int fill(T* list, Each&& each) {
  for (;;) {
    size_t n = 0;
    each([&](const auto&) { ++n; });
    // What is new since then finds room, or there is another try.
    if (!list->make(n + n / 8 + 16)) return -ENOMEM;
    bool all = true;
    each([&](const auto& item) { all = list->add(item) && all; });
    if (all) return 0;
  }
}

int Cycle::list_heap() {
  const int error = fill(&heap_, [](auto&& fn) {
    heap.each_range([&](const char* start, size_t bytes) {
      const auto begin = reinterpret_cast<uintptr_t>(start);
      fn(Range{begin, begin + bytes});
    });
  });
  if (error != 0) return error;
  std::sort(heap_.begin(), heap_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  size_t n = 0;
  for (const Range& r : heap_) {
    if (n != 0 && heap_.items[n - 1].end == r.begin) {
      heap_.items[n - 1].end = r.end;
    } else {
      heap_.items[n++] = r;
    }
  }
  heap_.count = n;
  return 0;
}

/// With the world stopped.
int Cycle::list_parts(const Roots& roots) {
  return fill(&parts_, [&](auto&& fn) {
    roots.each_part(
        {[](void* arg, const RootPart& part) { (*static_cast<std::remove_reference_t<decltype(fn)>*>(arg))(part); },
         &fn});
  });
}

/// With the world stopped.
int Cycle::list_others(const Roots& roots) {
  return fill(&others_, [&](auto&& fn) {
    const RootVisitor visitor = {[](void* arg, const void* begin, const void* end) {
                                   (*static_cast<std::remove_reference_t<decltype(fn)>*>(arg))(
                                       Range{reinterpret_cast<uintptr_t>(begin), reinterpret_cast<uintptr_t>(end)});
                                 },
                                 &fn};
    roots.visit_registered(visitor);
    roots.each_other(visitor);
  });
}

// ---- the cycle ----------------------------------------------------------------------------------------------------------

int Cycle::run(const CycleClient& client, uintptr_t own_sp) {
  if (own_sp != 0 && in_slow_path()) return -EAGAIN;
  // acquire: what the last one left is there.
  for (Cycle* free = nullptr;
       !running.compare_exchange_strong(free, this, std::memory_order_acquire, std::memory_order_relaxed);
       free = nullptr) {
    if (own_sp != 0) return -EAGAIN;
    // Two modes have a thread each, and nothing else to do.
    constexpr uint32_t kNever = 0;
    sys::futex_wait(&kNever, kNever, kTurn);
  }
  int error = -EOPNOTSUPP;
  if (options_.concurrent) {
    // Where addresses may run short they are not kept.
    error = os::address_space_limit() != SIZE_MAX ? -EDQUOT : run_concurrently(client, own_sp);
  }
  // Who could not be stopped once will not be the next moment.
  if (error != 0 && error != -EBUSY) {
    stats_ = CycleStats();
    stats_.why_full = error;
    shadow_.end();
    error = run_stopped(client, own_sp);
  }
  if (error != 0) shadow_.end();
  heap_.release();
  parts_.release();
  others_.release();
  written_.release();
  copies_.release();
  running.store(nullptr, std::memory_order_release);  // pairs with the acquire above
  return error;
}

void Cycle::reset_after_fork() {
  // relaxed: the child has one thread, and what the parent's cycle wrote before the fork is there.
  Cycle* const parents = running.load(std::memory_order_relaxed);
  if (parents == nullptr) return;
  heap.unpin_after_fork();
  parents->dirty_.forget_after_fork();
  running.store(nullptr, std::memory_order_relaxed);
}

void Cycle::count(const MarkTeam& team) {
  stats_.marked_blocks += team.blocks();
  stats_.marked_bytes += team.bytes();
  stats_.markers = std::max(stats_.markers, team.markers());
  stats_.others_ns += team.others_ns();
}

// ---- with the world stopped for all of it ---------------------------------------------------------------------------------

int Cycle::run_stopped(const CycleClient& client, uintptr_t own_sp) {
  if (const int error = shadow_.prepare(); error != 0) return error;
  Stop stop(&stats_.last_stop_ns);
  if (stop.error() != 0) return stop.error();
  if (const int error = check_stopped(); error != 0) return error;
  Roots roots;
  if (const int error = roots.find(own_sp); error != 0) return error;
  if (const int error = shadow_.begin(Shadow::Free::kCurrent); error != 0) return error;
  if (client.at_begin != nullptr) client.at_begin(client.arg, shadow_);
  mark_all(roots, client);
  if (options_.verify) verify(roots, client);
  if (client.at_end != nullptr) client.at_end(client.arg, shadow_);
  return 0;
}

void Cycle::mark_all(Roots& roots, const CycleClient& client) {
  MarkTeam team(shadow_, options_.stop_markers != 0 ? options_.stop_markers : processors_for_marking());
  Scanner scanner{team.own()};
  roots.each(scanner.visitor());
  if (client.add_roots != nullptr) client.add_roots(client.arg, team.own());
  team.drain();
  count(team);
  stats_.root_bytes = scanner.bytes;
}

/// In each stop.
int Cycle::check_stopped() {
  stats_.unstopped = unstopped_count();
  return stats_.unstopped == 0 ? 0 : -EBUSY;
}

// ---- beside the program ------------------------------------------------------------------------------------------------------

int Cycle::run_concurrently(const CycleClient& client, uintptr_t own_sp) {
  const int64_t began = precise_ns();
  if (const int error = dirty_.begin(); error != 0) return error;
  int error = shadow_.prepare();
  if (error == 0) {
    observer_ = {
        [](void* arg, const char* start, size_t bytes) { static_cast<Shadow*>(arg)->forget(start, bytes); },
        [](void* arg, const Span* s) { static_cast<Shadow*>(arg)->grow(s); },
        &shadow_,
    };
    heap.pin_addresses(&observer_);
    // The heap is watched before the tables are made: what is not in them was allocated later, and is found written.
    error = list_heap();
    for (const Range& r : heap_) {
      if (error == 0) error = dirty_.watch(r.begin, r.end);
    }
    if (error == 0) error = shadow_.build();
    stats_.prepare_ns = precise_ns() - began;
    if (error == 0) {
      MarkTeam team(shadow_, options_.markers);
      error = first_stop(client, own_sp, team);
      const int64_t marking = precise_ns();
      if (error == 0) error = mark_beside_program(team);
      if (error == 0 && client.at_marked != nullptr) client.at_marked(client.arg);
      if (error == 0) error = rounds();
      stats_.concurrent_ns = precise_ns() - marking;
    }
    if (error == 0) error = last_stop(client, own_sp);
    heap.unpin_addresses();
  }
  for (const Range& r : heap_) {
    for (uintptr_t at = r.begin; at < r.end; at += kUnwatchBytes)
      dirty_.unwatch(at, std::min(at + kUnwatchBytes, r.end));
  }
  for (const RootPart& p : parts_) dirty_.unwatch(p.begin, p.end);
  dirty_.end();
  return error;
}

int Cycle::first_stop(const CycleClient& client, uintptr_t own_sp, MarkTeam& team) {
  Stop stop(&stats_.first_stop_ns);
  if (stop.error() != 0) return stop.error();
  if (const int error = check_stopped(); error != 0) return error;
  Roots roots;
  if (const int error = roots.find(own_sp); error != 0) return error;
  if (const int error = list_parts(roots); error != 0) return error;
  if (const int error = list_others(roots); error != 0) return error;
  if (client.at_begin != nullptr) client.at_begin(client.arg, shadow_);
  Scanner scanner{team.own()};
  roots.visit_threads(scanner.visitor());
  if (client.add_roots != nullptr) client.add_roots(client.arg, team.own());
  return 0;
}

int Cycle::mark_beside_program(MarkTeam& team) {
  MemoryCopier copier;
  int error = copier.open();
  const auto scan = [&](const char* begin, const char* end) {
    team.own().scan_roots(begin, end);
    stats_.root_bytes += length(begin, end);
  };
  // Each is watched before it is read. One that cannot be watched is read once more in the last stop, all of it.
  for (const RootPart& p : parts_) {
    if (error != 0) break;
    const int refused = dirty_.watch(p.begin, p.end);
    if (refused == -EBADF) error = refused;
    if (p.live < p.end) {
      copier.each_written(p.mapping, p.live, p.end, scan);
    }
  }
  for (const Range& r : others_) {
    copier.each(r.begin, r.end, scan);
  }
  team.drain();
  count(team);
  return error;
}

// ---- what was written ----------------------------------------------------------------------------------------------------

/// Lists the pages of the heap that were written since the last time.
int Cycle::harvest_heap() {
  if (const int error = list_heap(); error != 0) return error;
  size_t pages = 0;
  for (const Range& r : heap_) pages += (r.end - r.begin) / os::page_size();
  if (!written_.make(pages)) return -ENOMEM;
  next_part_.store(0, std::memory_order_relaxed);
  for (const Range& r : heap_) {
    const auto add = [this](uintptr_t begin, uintptr_t end, bool) {
      for (uintptr_t at = begin; at < end; at += os::page_size()) written_.add({at, nullptr});
    };
    const int error = dirty_.harvest(r.begin, r.end, add);
    if (error != 0) return error;
  }
  const size_t room = std::clamp(pages / kCopiedShare, kFewestCopies, kMostCopies);
  if (stats_.rounds == 0) copies_.reserve(room);
  // The first round finds all that was written since the cycle began. If that is too much, most of it was written once, and what the program goes on
  // working on is found by the second.
  if (stats_.rounds != 0 || written_.count <= room) {
    for (WrittenPage& w : written_) w.copy = copies_.of(w.begin);
  }
  return 0;
}

void Cycle::prefetch_page(const WrittenPage& w) {
  // All of it, and its copy: two streams that the processor would find out about when the next page comes.
  for (size_t at = 0; at < os::page_size(); at += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(w.begin) + at);
    if (w.copy != nullptr) __builtin_prefetch(reinterpret_cast<char*>(w.copy) + at, 1);
  }
}

void Cycle::scan_page(Marker& marker, const WrittenPage& w) {
  if (w.copy != nullptr) {
    marker.scan_written(w.begin, w.begin + os::page_size(), w.copy);
  } else {
    marker.add_written(w.begin, w.begin + os::page_size());
  }
}

/// One of the markers' part of it.
void Cycle::take_written(void* cycle, Marker& marker) {
  auto* const self = static_cast<Cycle*>(cycle);
  const size_t n = self->written_.count;
  for (;;) {
    const size_t first = self->next_part_.fetch_add(kPagesTaken, std::memory_order_relaxed);
    if (first >= n) return;
    for (size_t i = first; i < first + kPagesTaken && i < n; ++i) {
      const WrittenPage& w = self->written_.items[i];
      if (i + 1 < n) prefetch_page(self->written_.items[i + 1]);
      scan_page(marker, w);
    }
  }
}

int Cycle::rounds() {
  MemoryCopier copier;
  if (const int error = copier.open(); error != 0) return error;
  size_t before = SIZE_MAX;
  while (stats_.rounds < kMostRounds) {
    int error = harvest_heap();
    size_t pages = written_.count;
    MarkTeam team(shadow_, options_.markers);
    for (const RootPart& p : parts_) {
      if (error != 0) return error;
      if (p.live >= p.end) continue;
      // What cannot be relied on is left to the last stop.
      const int refused = dirty_.harvest(p.live, p.end, [&](uintptr_t begin, uintptr_t end, bool) {
        pages += (end - begin) / os::page_size();
        copier.each(begin, end, [&](const char* from, const char* to) { team.own().scan_roots(from, to); });
      });
      if (refused == -EBADF) error = refused;
    }
    if (error != 0) return error;
    team.drain(take_written, this);
    count(team);
    if (stats_.rounds++ == 0) stats_.first_pages = pages;
    if (pages <= kFewPages || (stats_.rounds > 2 && pages > before - before / 8)) break;
    before = pages;
  }
  return 0;
}

size_t Cycle::pieces_in(const Range& r) { return ceil_div(r.end - r.begin, kPieceBytes); }

/// One of the markers' part in the last stop: what was written of the heap since the last round, found and scanned piece by piece.
void Cycle::harvest_last(void* cycle, Marker& marker) {
  auto* const self = static_cast<Cycle*>(cycle);
  size_t pages = 0;
  WrittenPage previous = {0, nullptr};
  const auto take = [&](const WrittenPage& w) {
    if (w.begin != 0) prefetch_page(w);
    if (previous.begin != 0) scan_page(marker, previous);
    previous = w;
  };
  for (;;) {
    const size_t piece = self->next_part_.fetch_add(1, std::memory_order_relaxed);
    size_t before = 0;
    const Range* r = self->heap_.begin();
    while (r != self->heap_.end() && piece - before >= pieces_in(*r)) before += pieces_in(*r++);
    if (r == self->heap_.end()) break;
    const uintptr_t begin = r->begin + (piece - before) * kPieceBytes;
    const int error = self->dirty_.harvest_last(begin, std::min(begin + kPieceBytes, r->end),
                                                [&](uintptr_t from, uintptr_t to, bool) {
                                                  for (uintptr_t at = from; at < to; at += os::page_size(), ++pages)
                                                    take({at, self->copies_.find(at)});
                                                });
    if (error != 0) self->last_error_.store(error, std::memory_order_relaxed);
  }
  take({0, nullptr});
  self->last_pages_.fetch_add(pages, std::memory_order_relaxed);
}

int Cycle::last_stop(const CycleClient& client, uintptr_t own_sp) {
  size_t pieces = 0;
  for (const Range& r : heap_) pieces += pieces_in(r);
  const size_t most = options_.stop_markers != 0 ? options_.stop_markers : processors_for_marking();
  MarkTeam team(shadow_, static_cast<unsigned>(std::min(pieces, most)));
  team.start();
  Stop stop(&stats_.last_stop_ns);
  if (stop.error() != 0) return stop.error();
  if (const int error = check_stopped(); error != 0) return error;
  if (const int error = list_heap(); error != 0) return error;
  next_part_.store(0, std::memory_order_relaxed);
  LastStop last{*this, client, own_sp, &team.own()};
  team.drain(
      [](void* arg, Marker& marker) {
        auto* const l = static_cast<LastStop*>(arg);
        // Roots are this thread's to scan: its own stack is one of them. The others begin with the heap.
        if (&marker == l->own) {
          const int error = l->cycle.scan_last_roots(l, marker);
          if (error != 0) l->cycle.last_error_.store(error, std::memory_order_relaxed);
        }
        harvest_last(&l->cycle, marker);
      },
      &last);
  if (const int error = last_error_.load(std::memory_order_relaxed); error != 0) return error;
  if (shadow_.is_incomplete()) return -ENOMEM;
  count(team);
  stats_.last_pages += last_pages_.load(std::memory_order_relaxed);
  if (options_.verify) verify(last.roots, client);
  if (client.at_end != nullptr) client.at_end(client.arg, shadow_);
  return 0;
}

int Cycle::scan_last_roots(LastStop* stop, Marker& marker) {
  if (const int error = stop->roots.find(stop->own_sp); error != 0) return error;
  if (const int error = stop->copier.open(); error != 0) return error;
  Scanner scanner{marker};
  const RootVisitor visitor = scanner.visitor();
  stop->roots.visit_threads(visitor);
  stop->roots.visit_registered(visitor);
  stop->roots.each_other(visitor);
  struct Context {
    Cycle& cycle;
    LastStop& stop;
    const RootVisitor& visitor;
    int error = 0;
  };
  Context context{*this, *stop, visitor};
  stop->roots.each_part({[](void* arg, const RootPart& p) {
                           auto* const c = static_cast<Context*>(arg);
                           if (c->error == 0 && p.live < p.end)
                             c->error = c->cycle.scan_last_part(c->stop, p, c->visitor);
                         },
                         &context});
  if (stop->client.add_roots != nullptr) stop->client.add_roots(stop->client.arg, marker);
  stats_.root_bytes += scanner.bytes;
  return context.error;
}

int Cycle::scan_last_part(LastStop& stop, const RootPart& p, const RootVisitor& visitor) {
  const int error = dirty_.harvest_last(p.live, p.end, [&](uintptr_t begin, uintptr_t end, bool is_present) {
    stats_.last_pages += (end - begin) / os::page_size();
    if (is_present) {
      visitor.visit(reinterpret_cast<void*>(begin), reinterpret_cast<void*>(end));
    } else {
      stop.copier.each(begin, end, [&](const char* from, const char* to) { visitor.visit(from, to); });
    }
  });
  if (error == -EBADF) return error;
  if (error != 0) {
    stop.roots.each_written(p.mapping, p.live, p.end, visitor);
    return 0;
  }
  // A stack that has grown since the first stop, when what lay below was dead and not scanned. What is in use of it was written since; but between that there may be old
  // words, which the next cycle takes for pointers, and so does this one.
  const RootPart* const first = std::lower_bound(parts_.begin(), parts_.end(), p.live,
                                                 [](const RootPart& a, uintptr_t at) { return a.end <= at; });
  if (first != parts_.end() && first->begin <= p.live && p.live < first->live) {
    stop.roots.each_written(p.mapping, p.live, std::min(first->live, p.end), visitor);
  }
  return 0;
}

// ---- verification ---------------------------------------------------------------------------------------------------------

/// What a marking from scratch reaches now, with the world stopped, must be marked. Free blocks are black in it, as they may be in ours: what only
/// the rest of an old block leads to is not reachable.
void Cycle::verify(Roots& roots, const CycleClient& client) {
  Shadow free;
  Shadow again;
  if (free.begin() != 0 || again.begin() != 0) {  // no memory for it
    free.end();
    return again.end();
  }
  Marker marker(again);
  Scanner scanner{marker};
  roots.each(scanner.visitor());
  if (client.add_roots != nullptr) client.add_roots(client.arg, marker);
  marker.drain();
  again.each_marked([&](const Ref& r) {
    const auto at = reinterpret_cast<uintptr_t>(r.start);
    Ref mine;
    Ref none;
    if (free.find(at, &none) && none.is_marked()) return;
    if (!shadow_.find(at, &mine) || mine.start != r.start || mine.bytes != r.bytes || mine.is_marked()) return;
    Line line;
    line.text("tri: the collector has missed the block at ").pointer(r.start).text(" of ").number(uint64_t{r.bytes});
    line.text(" bytes, which is reachable").in_program().write_to(2);
    __builtin_trap();
  });
  again.end();
  free.end();
}

}  // namespace tri::gc
