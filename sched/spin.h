// spin.h - Whether it pays to look again before one parks.
//
// Only if the holder of what we want can run meanwhile: with one processor, spinning is what keeps it from going on. Go's
// figures: four times thirty pauses, about a microsecond and a half, a tenth of what it takes to park and wake a thread.
//
// Used by: mutex, rwmutex.
#ifndef TRI_SCHED_SPIN_H
#define TRI_SCHED_SPIN_H

#include "tri_arch.h"

namespace tri::sched {

/// Those that this process may use; at least 1.
int processors();
/// Whether others can run while the caller does. Any thread.
bool others_may_run();

class SpinBudget {
 public:
  /// Pauses a little and returns true, until the budget is used up.
  [[nodiscard]] bool once_more() {
    if (used_ == kRounds || (used_ == 0 && !others_may_run())) return false;
    ++used_;
    for (int i = 0; i < kPauses; ++i) arch::spin_hint();
    return true;
  }

 private:
  static constexpr int kRounds = 4;
  static constexpr int kPauses = 30;
  int used_ = 0;
};

}  // namespace tri::sched

#endif
