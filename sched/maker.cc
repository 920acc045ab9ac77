// maker.cc - See maker.h.
#include "sched/maker.h"
#include "alloc/os/os.h"

#include <sys/prctl.h>

#include <atomic>

#include "alloc/base/sys.h"
#include "sched/fiber.h"
#include "sched/proc.h"
#include "sched/start_thread.h"

namespace tri::sched {
namespace {

constinit std::atomic<bool> started{false};
enum : uint32_t { kNothing, kAsked, kBusy };
constinit std::atomic<uint32_t> wanted{kNothing};

/// With an idle P if there is one: there may be work for it, or timers and the network to keep.
void make_one() {
  const int id = sched.idle.take_any();
  if (id < 0) {
    (void)reserve_idle_m();
    return;
  }
  P* const p = sched.ps[id].load(std::memory_order_acquire);
  if (!start_m(p, false)) put_idle_p(p);
}

void* maker_main(void*) {
  const os::OwnThread own;
  prctl(PR_SET_NAME, "tri-maker");
  sched.service_threads.fetch_add(1, std::memory_order_relaxed);
  for (;;) {
    for (uint32_t seen; (seen = wanted.load(std::memory_order_acquire)) != kAsked;) sys::futex_wait(&wanted, seen, -1);
    wanted.exchange(kBusy, std::memory_order_acquire);
    make_one();
    uint32_t busy = kBusy;  // else somebody has asked meanwhile, perhaps for a P that has just become idle
    wanted.compare_exchange_strong(busy, kNothing, std::memory_order_relaxed);
  }
}

}  // namespace

void maker_start() {
  if (started.exchange(true, std::memory_order_relaxed)) return;
  if (start_thread(maker_main, nullptr, fiber::kStackFactor * 128 * 1024) != 0)
    started.store(false, std::memory_order_relaxed);
}

bool ask_for_m() {
  // release: pairs with the maker's acquire; an idle P that the caller has seen is there.
  if (wanted.exchange(kAsked, std::memory_order_release) != kNothing) return true;
  sys::futex_wake(&wanted, 1);
  return false;
}

void reset_maker_after_fork() {
  started.store(false, std::memory_order_relaxed);
  wanted.store(kNothing, std::memory_order_relaxed);
}

}  // namespace tri::sched
