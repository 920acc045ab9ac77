// task.cc - What others know of a goroutine: its id, its end, and what it left to be done then.
#include <errno.h>

#include "alloc/malloc.h"
#include "sched/free_lists.h"
#include "sched/proc.h"

namespace tri::sched {

void wake_joiners(G* g) {
  g->join_lock.lock();
  Joiner* j = g->joiners;
  g->joiners = nullptr;
  // Under the lock, so that a join that comes now sees that it comes too late.
  g->generation.store(g->generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  Joiner* won = nullptr;
  while (j != nullptr) {
    Joiner* const next = j->next;
    if (claim(j->g, j->id)) {
      j->next = won;
      won = j;
    }
    j = next;
  }
  g->join_lock.unlock();
  while (won != nullptr) {
    // The entry stands on the stack of the one that is woken.
    Joiner* const next = won->next;
    ready(won->g, 0);
    won = next;
  }
}

TaskId self() {
  G* const g = current();
  if (g == nullptr) return 0;
  g->joinable = true;
  return id_of(g);
}

int join(TaskId id, Time deadline) {
  G* const target = record_of(id);
  if (target == nullptr) return -ESRCH;
  G* const g = current();
  if (g == target && id_of(g) == id) return -EDEADLK;
  // Generations only go up, and the id's was once the record's: another one now means that the task has ended.
  const auto has_ended = [&] { return target->generation.load(std::memory_order_acquire) != generation_of(id); };
  if (has_ended()) return 0;
  if (deadline <= kNoWait) return -ETIMEDOUT;
  if (g == nullptr) return -ENOMEM;
  target->join_lock.lock();
  if (has_ended()) {
    target->join_lock.unlock();
    return 0;
  }
  Joiner entry{target->joiners, g, begin_wait(g)};
  target->joiners = &entry;
  const int result = park(WaitReason::kJoin, &target->join_lock, deadline);
  if (result == -ETIMEDOUT || result == -ECANCELED) {
    SpinGuard guard(target->join_lock);
    for (Joiner** at = &target->joiners; *at != nullptr; at = &(*at)->next) {
      if (*at != &entry) continue;
      *at = entry.next;
      break;
    }
  }
  return result;
}

void end_stand_in(G* g) {
  if (g->joinable) wake_joiners(g);
  g->kind = GKind::kGoroutine;
  recycle_g(nullptr, g);
}

int defer(void (*fn)(void*), void* arg) {
  G* const g = current_g();
  if (g == nullptr || g->kind == GKind::kThread) return -EPERM;
  auto* const d = static_cast<Defer*>(allocate(sizeof(Defer)));
  if (d == nullptr) return -ENOMEM;
  *d = {g->defers, fn, arg};
  g->defers = d;
  return 0;
}

int sleep_until(Time deadline) {
  if (deadline <= now()) {
    yield();
    return 0;
  }
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  (void)begin_wait(g);
  const int result = park(WaitReason::kSleep, nullptr, deadline);
  return result == -ETIMEDOUT ? 0 : result;
}

}  // namespace tri::sched
