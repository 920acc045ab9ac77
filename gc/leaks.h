// leaks.h - Which blocks nothing reaches, and what hangs on each of them.
//
// The world stands still while the program's memory is marked (marker.h) from all of its roots (roots.h). What has no mark then is lost: no
// thread can free it any more. Nothing is changed by that, so a root that was missed costs a false report and no more.
//
// Which of them are direct, and what hangs on those, is told in lost.h.
//
// Not found: what a stale word still points to, in a register, in a dead variable that no call has overwritten, or by chance.
//
// See gc.h for the overview. Used by: shim.
#ifndef TRI_GC_LEAKS_H
#define TRI_GC_LEAKS_H

#include <cstddef>
#include <cstdint>

#include "gc/lost.h"
#include "gc/sleepers.h"

namespace tri::gc {

template <class Fn>
[[gnu::noinline]] auto call_with_own_frame(Fn&& fn) {
  return fn(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
}
/// Calls fn(sp): what the calling thread keeps in registers and on its stack stands at sp and above. What fn and whoever it calls leaves
/// there stands below. For the way from the program to Leaks::find(), whose frames hold all kinds of addresses.
template <class Fn>
[[gnu::noinline]] auto below_program(Fn&& fn) {
  __builtin_unwind_init();  // the registers that calls preserve are in this frame
  return call_with_own_frame(fn);
}

class Leaks {
 public:
  Leaks() = default;
  ~Leaks();
  Leaks(const Leaks&) = delete;
  Leaks& operator=(const Leaks&) = delete;

  /// Looks for them, with sp of below_program(). 0; -EAGAIN in a signal handler that interrupted the allocator; else the errors of stop_world(). Once. No lock may be
  /// held, and a goroutine must not lose its thread meanwhile.
  [[nodiscard]] int find(uintptr_t sp);

  /// Direct ones, by address. The blocks are there as long as the program keeps its hands off them, which it must: it lost them.
  const Leak* begin() const { return leaks_; }
  const Leak* end() const { return leaks_ + direct_; }

  size_t direct_blocks() const { return direct_; }
  size_t direct_bytes() const { return direct_bytes_; }
  size_t indirect_blocks() const { return indirect_; }
  size_t indirect_bytes() const { return indirect_bytes_; }
  /// All blocks in use, lost or not.
  size_t blocks() const { return blocks_; }
  size_t bytes() const { return bytes_; }
  /// Goroutines that nothing can wake. What they hold is not among the leaks.
  const Sleepers& sleepers() const { return sleepers_; }
  /// Threads that could not be stopped: what only they hold may be among the leaks.
  size_t unstopped_threads() const { return unstopped_; }

 private:
  int find_stopped(uintptr_t sp);

  Sleepers sleepers_;
  Leak* leaks_ = nullptr;  // direct ones
  size_t room_ = 0;
  size_t direct_ = 0;
  size_t direct_bytes_ = 0;
  size_t indirect_ = 0;
  size_t indirect_bytes_ = 0;
  size_t blocks_ = 0;
  size_t bytes_ = 0;
  size_t unstopped_ = 0;
};

}  // namespace tri::gc

#endif
