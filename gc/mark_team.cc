// mark_team.cc - See mark_team.h.
#include "gc/mark_team.h"

#include <sched.h>
#include <sys/syscall.h>

#include <bit>

#include "alloc/base/sys.h"
#include "gc/cpu_time.h"
#include "tri_arch.h"

namespace tri::gc {

unsigned processors() {
  uint64_t set[1024 / 64] = {};
  const long bytes = arch::system_call(SYS_sched_getaffinity, 0, sizeof set, reinterpret_cast<long>(set));
  unsigned n = 0;
  for (const uint64_t word : set) n += static_cast<unsigned>(std::popcount(word));
  return bytes <= 0 || n == 0 ? 1 : n;
}

unsigned processors_for_marking() {
  constexpr unsigned kEnough = 4;
  const unsigned n = processors();
  return n < kEnough ? n : kEnough;
}

void MarkTeam::work(void* team, unsigned) {
  auto* const t = static_cast<MarkTeam*>(team);
  t->wait_for_drain();
  Marker marker(t->shadow_, t->queue_);
  if (t->before_ != nullptr) t->before_(t->before_arg_, marker);
  marker.drain();
  // relaxed: read after join(). The thread was made for this, and ends with it.
  t->others_ns_.fetch_add(thread_cpu_ns(), std::memory_order_relaxed);
  t->others_blocks_.fetch_add(marker.blocks(), std::memory_order_relaxed);
  t->others_bytes_.fetch_add(marker.bytes(), std::memory_order_relaxed);
}

void MarkTeam::wait_for_drain() {
  // acquire: what is to be done is there. About 20 us of patience, as long as a thread takes to wake up.
  for (int i = 0; i < 600 && drains_.load(std::memory_order_acquire) == 0; ++i) arch::spin_hint();
  while (drains_.load(std::memory_order_acquire) == 0) sys::futex_wait(&drains_, 0, -1);
}

void MarkTeam::start() {
  const unsigned wanted = queue_.markers() - 1;
  const unsigned started = wanted == 0 ? 0 : workers_.start(wanted, work, this);
  // The marking is over when all of the queue's markers wait, and this one does not yet.
  if (started < wanted) queue_.leave(wanted - started);
  markers_ = 1 + started;
}

void MarkTeam::drain(void (*before)(void* arg, Marker& marker), void* arg) {
  before_ = before;
  before_arg_ = arg;
  drains_.store(1, std::memory_order_release);  // pairs with the acquire in wait_for_drain()
  if (workers_.count() == 0) {
    start();
  } else {
    sys::futex_wake(&drains_, INT32_MAX);
  }
  if (before != nullptr) before(arg, own_);
  own_.drain();
  workers_.join();
}

MarkTeam::~MarkTeam() {
  // One that was started, and has nothing to do after all.
  if (workers_.count() != 0) drain();
}

}  // namespace tri::gc
