// netpoll.cc - The network poller: edges of descriptors become goroutines that can run.
//
// OVERVIEW of input and output
//
//   tri_read(fd) ...       net_api.cc (shim)    the C interface
//   read(), accept() ...   descriptor, socket   the system call first; would it block: wait, then again
//   who waits for what     poll_desc            the state machine: an event count and a queue for each direction
//   what became ready      netpoll, poller      this file, and the operating system's part (os/linux/epoll.cc)
//
// A descriptor is registered once, at the first call that has to wait, edge-triggered and for both directions: from then on
// neither a call nor a wait tells the kernel anything about it. find_work and sysmon call netpoll(), which turns the
// edges into goroutines.
//
// There are two pollers. Goroutines are woken by the scheduler's, which its threads poll when they have nothing to run, or from
// time to time. Plain threads that wait have one of their own, which a thread polls that exists for that, from the first such wait
// on, and sleeps in the kernel otherwise: so they can wait whether or not the scheduler runs, however busy its processors are, and
// cost it nothing: an accept loop in main() stays out of the goroutines' way. A descriptor on which both kinds wait is
// registered with both.
#include "sched/netpoll.h"
#include "alloc/os/os.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include <atomic>

#include "alloc/base/check.h"
#include "alloc/base/sys.h"
#include "alloc/malloc.h"
#include "sched/descriptor.h"
#include "sched/m.h"
#include "sched/poll_desc.h"
#include "sched/poller.h"
#include "sched/proc.h"
#include "sched/resolve.h"
#include "sched/start_thread.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constexpr int kScheduler = 0;
constexpr int kThreads = 1;
static_assert(PollDesc::kPollers == 2);
constexpr size_t kBatch = 128;
constexpr size_t kPollStackBytes = 64 * 1024;

constinit Poller pollers[PollDesc::kPollers];

enum class PollThread : uint32_t { kNone, kStarting, kRuns };
constinit std::atomic<PollThread> poll_thread{PollThread::kNone};
constinit bool fork_handled = false;  // whoever set kStarting

// Polls once, for `most` events; the Gs that were claimed.
G* collect(Poller& poller, size_t most, Time until) {
  PollEvent events[kBatch];
  const size_t n = poller.wait(events, most, until);
  // With many connections none of their records is in the cache; so they are all on their way before the first is needed.
  for (size_t i = 0; i < n; ++i) {
    const PollDesc* const d = find_poll_desc(events[i].fd);
    __builtin_prefetch(d, 1);
    __builtin_prefetch(reinterpret_cast<const char*>(d) + 64, 1);
  }
  for (size_t i = 0; i < n; ++i) find_poll_desc(events[i].fd)->prefetch_waiter();
  ClaimedList claimed;
  for (size_t i = 0; i < n; ++i) {
    PollDesc* const d = find_poll_desc(events[i].fd);
    TRI_ASSERT(d != nullptr);
    free_poll_waiters(d->on_event(events[i].generation, events[i].events, &claimed));
  }
  return claimed.first;
}

// Wakes the plain threads of a list; the rest of it.
G* wake_threads(G* list) {
  G* goroutines = nullptr;
  G** end = &goroutines;
  while (list != nullptr) {
    G* const g = list;
    list = g->next_claimed;
    g->next_claimed = nullptr;
    if (g->kind == GKind::kThread) {
      ready(g, g->result);
    } else {
      *end = g;
      end = &g->next_claimed;
    }
  }
  return goroutines;
}

void* poll_for_threads(void*) {
  const os::OwnThread own;
  sched.service_threads.fetch_add(1, std::memory_order_relaxed);
  for (;;) {
    // Goroutines, if one waits on a descriptor that threads wait on as well.
    for (G* g = wake_threads(collect(pollers[kThreads], kBatch, kForever)); g != nullptr;) {
      G* const next = g->next_claimed;
      ready(g, g->result);
      g = next;
    }
  }
  return nullptr;
}

int need_poll_thread() {
  for (;;) {
    PollThread state = PollThread::kNone;
    // acquire: pairs with the release below.
    if (poll_thread.compare_exchange_strong(state, PollThread::kStarting, std::memory_order_acquire)) break;
    if (state == PollThread::kRuns) return 0;
    sys::yield();
  }
  int r = pollers[kThreads].open();
  // The scheduler sees to it as well, once it runs; twice does no harm.
  if (r == 0 && !fork_handled) r = -pthread_atfork(nullptr, nullptr, netpoll_reset_after_fork);
  if (r == 0) fork_handled = true;
  if (r == 0) r = -start_thread(poll_for_threads, nullptr, kPollStackBytes);
  poll_thread.store(r == 0 ? PollThread::kRuns : PollThread::kNone, std::memory_order_release);
  return r;
}

// How many can be made ready here. What does not fit the queue would go to the global one, and wait there for longer than what becomes
// ready after it; the kernel keeps it in order.
size_t room() {
  const M* const m = current_m();
  if (m == nullptr || m->p == nullptr) return kBatch;
  const size_t taken = m->p->runq.size();
  if (taken >= RunQ::kSize) return 0;
  const size_t free = RunQ::kSize - taken;
  return free < kBatch ? free : kBatch;
}

}  // namespace

bool netpoll_active() { return pollers[kScheduler].is_open(); }

G* netpoll(Time until) {
  if (!netpoll_active()) return nullptr;
  const size_t most = until == kNoWait ? room() : kBatch;
  return most == 0 ? nullptr : wake_threads(collect(pollers[kScheduler], most, until));
}

void netpoll_break() { pollers[kScheduler].interrupt(); }

void netpoll_reset_after_fork() {
  for (Poller& p : pollers) p.reset_after_fork();
  poll_thread.store(PollThread::kNone, std::memory_order_relaxed);
  reset_poll_descs_after_fork();
  resolve_reset_after_fork();
}

int netpoll_prepare(const G* g) {
  if (g->kind == GKind::kThread)
    return poll_thread.load(std::memory_order_acquire) == PollThread::kRuns ? 0 : need_poll_thread();
  return pollers[kScheduler].open();
}

int netpoll_register_locked(int fd, PollDesc* d, const G* g) {
  const int poller = poller_of(g);
  const bool registered = d->is_registered_locked(poller);
  if (TRI_LIKELY(registered && d->is_ours_locked())) return 0;
  // What others opened, others may have closed, without a word to us, and its number may mean another file by now. The kernel knows: a
  // file that it has registered already is refused at once.
  int r = pollers[poller].add(fd, d->generation());
  if (r == 1) r = registered ? 0 : pollers[poller].change(fd, d->generation());
  if (r == 0) d->set_registered_locked(poller);
  return r;
}

void netpoll_unregister(int fd) {
  for (Poller& p : pollers) p.remove(fd);
}

int netpoll_arm(int fd, bool write, G* g, WaitId id, int result_when_ready) {
  PollDesc* d;
  if (const int r = use_descriptor(fd, &d); r < 0) return r;
  if (d->kind() == FdKind::kFile) return 1;
  if (const int r = netpoll_prepare(g); r < 0) return r;
  PollWaiter* spare = nullptr;
  int result;
  for (;;) {
    const Stamp stamp = d->side(write).stamp();
    result = poll_now(fd, write ? POLLOUT : POLLIN);
    if (result != 0) break;
    d->lock();
    const bool same = d->generation() == stamp_generation(stamp) && d->is_in_use_locked();
    result = same ? netpoll_register_locked(fd, d, g) : -EBADF;
    if (result == 0) result = d->arm_locked(write, stamp, g, id, result_when_ready, &spare);
    d->unlock();
    if (result == 1) continue;  // an edge since; whether it means anything, the kernel says
    if (result != -ENOMEM || spare != nullptr) break;
    spare = static_cast<PollWaiter*>(allocate(sizeof(PollWaiter)));
    if (spare == nullptr) break;
    *spare = PollWaiter{};
    spare->allocated = true;
  }
  if (spare != nullptr) deallocate(spare);
  // A descriptor that cannot be polled is always ready.
  if (result == -EPERM) return 1;
  return result > 0 ? 1 : result;
}

void netpoll_disarm(int fd, bool write, G* g, WaitId id) {
  PollDesc* const d = find_poll_desc(fd);
  if (d == nullptr) return;
  if (PollWaiter* const w = d->remove(write, g, id)) deallocate(w);
}

}  // namespace tri::sched
