// find_work.cc - The search for something to run, and sleep when there is nothing. See idle.h for why no work is lost.
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include "alloc/base/sys.h"
#include "sched/maker.h"
#include "sched/netpoll.h"
#include "sched/proc.h"
#include "sched/stack.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constexpr uint32_t kLookFurther = 61;
constexpr uint32_t kMaxBatch = 128;
constexpr int kStealRounds = 4;
// A victim's next goroutine is taken when it has waited at least this long: one that was just readied runs there in a moment, with its data in that cache.
constexpr Time kNextAge = 3'000;
constexpr uint32_t kMaxFruitless = 1024;
// Looks for a deadlock after 1, 2, 4 ... 512 ms without anything to do; later only if somebody else has gone to sleep since.
constexpr int kDeadlockLooks = 10;
constexpr Time kFirstLook = 1'000'000;

P* p_at(uint32_t i) { return sched.ps[i].load(std::memory_order_acquire); }

uint32_t random(P* p) {
  // Marsaglia's xorshift.
  uint32_t x = p->seed;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return p->seed = x;
}

/// From the global queues, in turn: one to run, and of those that may run anywhere this P's share of the rest into its ring.
G* take_global(P* p, uint32_t most) {
  const uint32_t size = sched.globq.size();
  p->pinned_turn = !p->pinned_turn || size == 0;
  if (p->pinned_turn && sched.pinned.size() != 0) {
    if (G* const g = sched.pinned.take(1)) return g;
  }
  if (size == 0) return nullptr;
  uint32_t n = size / sched.procs.load(std::memory_order_relaxed) + 1;
  if (n > most) n = most;
  G* const first = sched.globq.take(n);
  if (first == nullptr) return nullptr;
  G* g = first->next;
  first->next = nullptr;
  while (g != nullptr) {
    G* const next = g->next;
    put_local(p, g, false);
    g = next;
  }
  return first;
}

G* take_local(P* p) {
  if (G* g = p->runq.take_next()) return g;
  return p->runq.take();
}

/// Whether to wake others for what the network brings: see crowding.h.
bool network_wakes() { return busy_procs() < sched.useful.load(std::memory_order_relaxed); }

/// Makes runnable what the network has brought, on this P.
void ready_from_network(const P* p, G* list) {
  ready_quietly(list);
  if (p->runq.size() > 1 && network_wakes()) wake_if_idle();  // one alone runs here at once
}

/// Looks at the network without waiting; one to run, the rest into the ring.
G* poll_network(P* p) {
  if (!netpoll_active() || sched.polling.exchange(1, std::memory_order_acquire) != 0) return nullptr;
  G* const first = netpoll(kNoWait);
  sched.polling.store(0, std::memory_order_release);
  // The time itself, not the P's idea of it: without timers that stands still while there is work, and sysmon, which would then
  // believe that nobody polls, would take the events to itself, 50,000 times a second.
  p->coarse_now = now();
  sched.last_poll.store(p->coarse_now, std::memory_order_relaxed);
  if (first == nullptr) return nullptr;
  ready_from_network(p, first);
  return take_local(p);
}

G* steal_next(P* victim) {
  G* const g = victim->runq.peek_next();
  if (g == nullptr) return nullptr;
  const Time since = now();
  do {
    for (int i = 0; i < 10; ++i) arch::spin_hint();
    if (victim->runq.peek_next() != g) return nullptr;
  } while (now() - since < kNextAge);
  return victim->runq.steal_next(g);
}

/// Runs timers that are due, of whatever P: idle, busy with something else, or about to go out of service.
G* run_others_timers(P* p, Time at) {
  for (uint32_t i = 0; i < kMaxProcs; ++i) {
    P* const other = p_at(i);
    if (other == nullptr) return nullptr;
    if (other == p || other->timers.earliest() > at || !run_timers(other, at)) continue;
    if (G* g = take_local(p)) return g;
  }
  return nullptr;
}

G* steal(P* p) {
  const uint32_t n = sched.procs.load(std::memory_order_relaxed);
  if (n < 2) return nullptr;
  for (int round = 0; round < kStealRounds; ++round) {
    const bool is_last = round == kStealRounds - 1;
    const uint32_t start = random(p);
    for (uint32_t i = 0; i < n; ++i) {
      P* const victim = p_at((start + i) % n);
      if (victim == p || victim == nullptr) continue;
      if (sched.idle.is_idle(victim->id)) continue;
      if (G* g = victim->runq.steal_into(p->runq)) return g;
      if (is_last) {
        if (G* g = steal_next(victim)) return g;
      }
    }
  }
  return nullptr;
}

bool work_is_somewhere() {
  if (global_work()) return true;
  const uint32_t n = sched.procs.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < n; ++i) {
    const P* const p = p_at(i);
    if (p != nullptr && p->runq.has_ring()) return true;
  }
  return false;
}

/// A fence on all threads of the process that run now: the other half of wake_if_idle()'s.
void heavy_fence() {
  full_fence();
  if (sched.light_fence && busy_procs() != 0) {
    arch::system_call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  }
}

/// An idle P for m; false if there is none.
bool take_idle_p(M* m) {
  const int id = sched.idle.take_any();
  if (id < 0) return false;
  acquire_p(m, p_at(static_cast<uint32_t>(id)));
  return true;
}

void start_spinning(M* m) {
  m->spinning = true;
  sched.spinning.fetch_add(1, std::memory_order_seq_cst);
}

/// Waits for events or the doorbell, until a time. What is ready comes back as a list.
G* wait_as_keeper(M* m, bool polls, Time until) {
  if (!polls) {
    wait_doorbell(m, until);
    return nullptr;
  }
  while (sched.polling.exchange(1, std::memory_order_acquire) != 0) sys::yield();
  // A break that came earlier has been, or will be, noticed by netpoll(), too; this only saves the call.
  G* const list = m->doorbell.load(std::memory_order_acquire) == 0 ? netpoll(until) : nullptr;
  sched.polling.store(0, std::memory_order_release);
  return list;
}

/// Somebody has taken this M from its post, and gives it a P in a moment. Its doorbell says nothing: wake_keeper() may have rung it before.
P* await_given_p(M* m) {
  for (;;) {
    {
      SpinGuard guard(sched.lock);  // give_p() holds it until it is done with us
      if (P* const p = m->next_p) {
        m->next_p = nullptr;
        return p;
      }
    }
    sys::yield();
  }
}

/// When the keeper has something to do.
Time next_moment() {
  const Time timer = earliest_timer();
  const Time trim = next_trim();
  return trim < timer ? trim : timer;
}

/// Until when the keeper sleeps who has no timer to wait for; each time after a look for a deadlock, but for the first, which is soon: a
/// program that is never idle for long is not looked at.
Time until_next_look(int* looks) {
  const bool is_last = *looks == kDeadlockLooks;
  // seq_cst, and then the look: who goes to sleep after it reads `unwatched` when he has, and wakes us (see watch_for_deadlock()).
  if (is_last) sched.unwatched.store(true, std::memory_order_seq_cst);
  if (*looks != 0 && check_deadlock()) {
    sched.unwatched.store(false, std::memory_order_relaxed);
    return now() + kFirstLook;
  }
  return is_last ? kForever : now() + (kFirstLook << (*looks)++);
}

/// The M that keeps the time: sleeps until the next timer, or an event of the network. Returns with a P, or without.
void keep(M* m) {
  int looks = 0;
  for (;;) {
    bool polls;
    {
      SpinGuard guard(sched.lock);
      // Under the lock: who opens the poller later looks there whether the keeper knows of it (keeper_is_blind()).
      polls = netpoll_active();
      m->doorbell.store(0, std::memory_order_relaxed);
      m->next_p = nullptr;
      m->polls = polls;
      sched.keeper = m;
    }
    if (sched.unwatched.exchange(false, std::memory_order_relaxed)) looks = 0;
    const bool looks_for_deadlock = earliest_timer() == kForever && main_waits.load(std::memory_order_relaxed);
    const Time until = next_moment();
    // seq_cst, and another look: whoever goes to sleep after us with an earlier timer reads keeper_until after his P was
    // given up, and wakes us (see sleep()).
    sched.keeper_until.store(until, std::memory_order_seq_cst);
    full_fence();  // the loads of earliest_timer() are acquire, and those may overtake a store
    G* list = nullptr;
    if (next_moment() >= until && !(work_is_somewhere() && sched.idle.any())) {
      Time at_most = until;
      if (looks_for_deadlock) {
        const Time look = until_next_look(&looks);
        if (look < at_most) at_most = look;
      } else {
        sched.unwatched.store(true, std::memory_order_seq_cst);
      }
      list = wait_as_keeper(m, polls, at_most);
    }
    bool is_reserved;
    {
      SpinGuard guard(sched.lock);
      is_reserved = sched.keeper != m;
      sched.keeper = nullptr;
    }
    sched.keeper_until.store(0, std::memory_order_seq_cst);
    P* const given = is_reserved ? await_given_p(m) : nullptr;
    const Time at = now();
    if (polls) sched.last_poll.store(at, std::memory_order_relaxed);
    trim_stacks(at);
    const bool is_useful = list != nullptr || ((earliest_timer() <= at || work_is_somewhere()) && sched.idle.any());
    if (given != nullptr) {
      acquire_p(m, given);
    } else if (is_useful) {
      (void)take_idle_p(m);
    } else if (earliest_timer() > at) {
      continue;  // timers that are due belong to Ps that are busy, and sysmon sees to those
    }
    {
      SpinGuard guard(sched.lock);
      m->polls = false;
    }
    sched.keeping.store(false, std::memory_order_seq_cst);
    // Whoever made his P idle before he saw the post vacant has left it to us: with that P we come back to it.
    if (m->p == nullptr && sched.idle.count() != 0) (void)take_idle_p(m);
    if (m->p != nullptr) m->p->coarse_now = at;
    if (m->p == nullptr) {
      ready_list(list);
    } else {
      const bool leaves_post = list != nullptr && !network_wakes();
      if (list != nullptr) ready_from_network(m->p, list);
      // Who has a P with work on it may be gone for long: the timers of Ps that stay idle, and the network, are for another to keep; or for
      // sysmon, if he took a processor that others want.
      if (!m->spinning && !leaves_post) wake_p();
    }
    return;
  }
}

/// Makes the keeper look at the timers again, and whether there is a network now.
void wake_keeper() {
  M* m;
  bool polls;
  {
    SpinGuard guard(sched.lock);
    m = sched.keeper;
    if (m == nullptr) return;
    polls = m->polls;
    m->doorbell.store(1, std::memory_order_release);
  }
  if (polls) {
    netpoll_break();
  } else {
    sys::futex_wake(&m->doorbell, 1);
  }
}

/// The keeper sleeps beside a network that did not exist when it went to sleep.
bool keeper_is_blind() {
  if (!netpoll_active()) return false;
  SpinGuard guard(sched.lock);
  return sched.keeper != nullptr && !sched.keeper->polls;
}

/// The keeper may sleep until a moment that is later than those of a P that has just become idle, or beside a network that did not
/// exist yet.
void tell_keeper() {
  if (keeper_is_blind() || next_moment() < sched.keeper_until.load(std::memory_order_seq_cst)) wake_keeper();
}

/// Gives up m's P and sleeps, unless there is work after all. Returns with or without a P.
void sleep(M* m) {
  P* const p = m->p;
  m->p = nullptr;
  p->m.store(nullptr, std::memory_order_relaxed);
  put_idle_p(p);
  const bool was_spinning = m->spinning;
  if (was_spinning) {
    m->spinning = false;
    sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
    const uint32_t f = sched.fruitless.load(std::memory_order_relaxed);
    sched.fruitless.store(f == 0 ? 1 : f < kMaxFruitless ? f * 2 : f, std::memory_order_relaxed);
  }
  heavy_fence();
  if (work_is_somewhere() && take_idle_p(m)) {
    start_spinning(m);
    return;
  }
  if (!sched.keeping.exchange(true, std::memory_order_seq_cst)) return keep(m);
  tell_keeper();
  watch_for_deadlock();
  stop_m(m);
}

/// A spinner has found something: if it was the last, another M takes its place, since where there was one there may be more.
void stop_spinning(M* m) {
  m->spinning = false;
  if (sched.spinning.fetch_sub(1, std::memory_order_seq_cst) == 1) wake_p();
}

}  // namespace

uint32_t busy_procs() {
  const uint32_t n = sched.procs.load(std::memory_order_relaxed);
  const uint32_t idle = sched.idle.count();
  return idle > n ? 0 : n - idle;
}

Time earliest_timer() {
  Time t = kForever;
  for (uint32_t i = 0; i < kMaxProcs; ++i) {
    const P* const p = p_at(i);
    if (p == nullptr) break;
    if (p->timers.earliest() < t) t = p->timers.earliest();
  }
  return t;
}

void timer_added(Time when) {
  // seq_cst: the heap's word was written before; see keep(). Where nobody sleeps, a P is busy, and sysmon looks at its timers.
  full_fence();
  if (when < sched.keeper_until.load(std::memory_order_seq_cst)) wake_keeper();
  arm_sysmon();
}

void watch_for_deadlock() {
  full_fence();  // between the caller's sleep and the look: see until_next_look()
  if (!sched.unwatched.load(std::memory_order_seq_cst) || !main_waits.load(std::memory_order_relaxed)) return;
  if (busy_procs() == 0 && earliest_timer() == kForever) wake_keeper();
}

void ready_list(G* list) {
  while (list != nullptr) {
    G* const next = list->next_claimed;
    ready(list, list->result);
    list = next;
  }
}

bool run_timers(P* p, Time at) {
  // One batch: those that it wakes run before the next, which may be as large as the program, and does not fit the ring.
  size_t started = 0;
  G* const due = run_due(p->timers, at, &started);
  ready_list(due);
  return due != nullptr || started != 0;
}

void put_idle_p(P* p) {
  if (is_retired(p)) return retire_p(p);
  sched.idle.put(p->id);
  // The number may have gone down between the two.
  if (is_retired(p) && sched.idle.take(p->id)) retire_p(p);
}

void wake_p() {
  // count(), not any(): what the caller has put into the global queue was a store, which a relaxed load may overtake.
  while (sched.idle.count() != 0) {
    uint32_t none = 0;
    // seq_cst: see idle.h. One spinner is enough: if it finds work it wakes the next.
    if (sched.spinning.load(std::memory_order_seq_cst) != 0 ||
        !sched.spinning.compare_exchange_strong(none, 1, std::memory_order_seq_cst, std::memory_order_relaxed)) {
      return;
    }
    const int id = sched.idle.take_any();
    if (id >= 0) {
      P* const p = p_at(static_cast<uint32_t>(id));
      if (M* const m = current_m(); m != nullptr && m->p != nullptr) {
        m->p->skip_wakes = sched.fruitless.load(std::memory_order_relaxed);
      }
      if (start_m(p, true)) return;
      put_idle_p(p);
      sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
      (void)ask_for_m();
      return;
    }
    // No P after all. But one may have become idle since, and somebody may have relied on the spinner that we pretended to be.
    sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
  }
}

void handoff_p(P* p) {
  const bool is_needed = !p->runq.empty() || global_work() || p->timers.earliest() != kForever ||
                         !sched.keeping.load(std::memory_order_seq_cst);
  if (is_needed && !is_retired(p) && start_m(p, false)) return;
  spill(p);  // no thread could be had: what waits here is for whoever comes by
  put_idle_p(p);
  if (is_needed) (void)ask_for_m();
  heavy_fence();
  // The keeper may have left his post between our look and the idle P: see keep().
  if (work_is_somewhere() || !sched.keeping.load(std::memory_order_seq_cst)) wake_p();
  tell_keeper();
}

G* find_work(M* m) {
  for (;;) {
    P* const p = m->p;
    if (p == nullptr) {
      stop_m(m);
      continue;
    }
    if (TRI_UNLIKELY(is_retired(p))) {
      sleep(m);  // with what it leaves to others in view
      continue;
    }
    p->attention.store(false, std::memory_order_relaxed);
    Time at = 0;
    if (p->timers.earliest() != kForever) {
      p->coarse_now = at = now();
      if (p->timers.earliest() <= at) run_timers(p, at);
    }
    G* g = nullptr;
    if (p->look_further || ++p->tick % kLookFurther == 0) {
      p->look_further = false;
      g = take_global(p, 1);
      if (g == nullptr) g = poll_network(p);
    }
    if (g == nullptr) g = take_local(p);
    if (g == nullptr) g = take_global(p, kMaxBatch);
    if (g == nullptr) g = poll_network(p);
    if (g == nullptr) {
      if (at == 0) p->coarse_now = at = now();
      if (earliest_timer() <= at) g = run_others_timers(p, at);
    }
    if (g == nullptr) {
      // Half as many as are busy: those who search cost those who work.
      if (m->spinning || (sched.procs.load(std::memory_order_relaxed) > 1 &&
                          2 * sched.spinning.load(std::memory_order_relaxed) < busy_procs())) {
        if (!m->spinning) start_spinning(m);
        g = steal(p);
        if (g != nullptr) sched.fruitless.store(0, std::memory_order_relaxed);
      }
    }
    if (g != nullptr) {
      if (m->spinning) stop_spinning(m);
      return g;
    }
    sleep(m);
  }
}

}  // namespace tri::sched
