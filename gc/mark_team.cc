// mark_team.cc - See mark_team.h.
#include "gc/mark_team.h"

#include <sched.h>
#include <sys/syscall.h>

#include <bit>

#include "tri_arch.h"

namespace tri::gc {

unsigned processors_for_marking() {
  constexpr unsigned kEnough = 4;
  uint64_t set[1024 / 64] = {};
  const long bytes = arch::system_call(SYS_sched_getaffinity, 0, sizeof set, reinterpret_cast<long>(set));
  unsigned n = 0;
  for (const uint64_t word : set) n += static_cast<unsigned>(std::popcount(word));
  return bytes <= 0 || n == 0 ? 1 : n < kEnough ? n : kEnough;
}

void MarkTeam::work(void* team, unsigned) {
  auto* const t = static_cast<MarkTeam*>(team);
  Marker marker(t->shadow_, t->queue_);
  marker.drain();
  // relaxed: read after join().
  t->others_blocks_.fetch_add(marker.blocks(), std::memory_order_relaxed);
  t->others_bytes_.fetch_add(marker.bytes(), std::memory_order_relaxed);
}

void MarkTeam::drain() {
  const unsigned wanted = queue_.markers() - 1;
  Workers workers;
  const unsigned started = workers.start(wanted, work, this);
  // The marking is over when all of the queue's markers wait, and this one does not yet.
  if (started < wanted) queue_.leave(wanted - started);
  markers_ = 1 + started;
  own_.drain();
  workers.join();
}

}  // namespace tri::gc
