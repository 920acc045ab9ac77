// spin_lock.cc - See spin_lock.h.
#include "sched/spin_lock.h"

#include "alloc/base/sys.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

// About 2 us: many times longer than a section. Who has waited so long waits for a thread that the kernel has stopped.
constexpr int kSpins = 100;

}  // namespace

void SpinLock::lock_slow() {
  // Without bound: sections are short, and their threads are not stopped by us.
  for (;;) {
    for (int i = 0; i < kSpins; ++i) {
      arch::spin_hint();
      // Looks before it writes, so that those who wait share the line. acquire: pairs with the release in unlock().
      if (taken_.load(std::memory_order_relaxed) == 0 && taken_.exchange(1, std::memory_order_acquire) == 0) return;
    }
    sys::yield();
  }
}

}  // namespace tri::sched
