// trace.cc - See trace.h.
#include "sched/trace.h"

#include <atomic>

#include "alloc/base/print.h"
#include "sched/preempt.h"
#include "sched/proc.h"

namespace tri::sched {
namespace {

constexpr Time kEvery = 1'000'000'000;

constinit std::atomic<bool> tracing{false};
// sysmon alone.
constinit Time started = 0;
constinit Time next = 0;

uint32_t count_threads() {
  uint32_t n = 0;
  SpinGuard guard(sched.lock);
  for (const M* m = sched.all_ms; m != nullptr; m = m->next_all) {
    if (m->thread_id.load(std::memory_order_relaxed) != 0) ++n;  // else it never came
  }
  return n;
}

void write_line(Time at) {
  const uint32_t procs = sched.procs.load(std::memory_order_relaxed);
  Line line;
  line.text("tri sched ").tenths(static_cast<uint64_t>((at - started) / (kEvery / 10))).text(" s: procs ");
  line.number(uint64_t{procs}).text(" busy ").number(uint64_t{busy_procs()});
  line.text(" spinning ").number(uint64_t{sched.spinning.load(std::memory_order_relaxed)});
  line.text(" threads ").number(uint64_t{count_threads()});
  line.text(" idle ").number(uint64_t{sched.idle_m_count.load(std::memory_order_relaxed)});
  line.text(" records ").number(uint64_t{g_count()}).text(" preempted ").number(preemptions());
  line.text(" global ").number(uint64_t{sched.globq.size()} + sched.pinned.size()).text(" local");
  for (uint32_t i = 0; i < procs; ++i) {
    const P* const p = sched.ps[i].load(std::memory_order_acquire);
    if (p != nullptr) line.text(" ").number(uint64_t{p->runq.size()});
  }
  line.text("\n").write_to(2);
}

}  // namespace

void set_trace(bool on) {
  tracing.store(on, std::memory_order_relaxed);
  if (on && runtime_started()) sysmon_wake();
}

bool is_tracing() { return tracing.load(std::memory_order_relaxed); }

Time trace_if_due(Time at) {
  if (!is_tracing()) return kForever;
  if (started == 0) started = next = at;
  if (at >= next) {
    write_line(at);
    next += kEvery * ((at - next) / kEvery + 1);
  }
  return next - at;
}

}  // namespace tri::sched
