// stop.cc - See stop.h.
#include "gc/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstring>

#include "alloc/base/check.h"
#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "gc/tasks.h"
#include "stopped_frame.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

enum class State : uint32_t {
  kAsked,    // the signal is on its way
  kStopped,  // in the handler
  kGone,     // on its way out of it
  kGivenUp,  // cannot answer; a signal that still comes finds nothing to do
  kEnded,    // the same, and the thread is no more
};

struct Record {
  std::atomic<State> state{State::kGone};
  uint32_t id = 0;  // who stops
  // The thread, before it becomes kStopped.
  uintptr_t sp = 0;
  uintptr_t thread_pointer = 0;
  const ucontext_t* registers = nullptr;
};

constexpr size_t kMaxThreads = size_t{1} << 16;  // 2 MiB of addresses; pages as they are used
// A thread that is ready to run gets its turn within this, on any machine that is of use.
constexpr int64_t kPatience = 2'000'000'000;
// And one that sleeps in the kernel comes out of it within this, but for vfork(), whose caller holds everything up for as long.
constexpr int64_t kKernelPatience = 100'000'000;
// When to look first for threads that will not answer. Most answer within microseconds.
constexpr int64_t kFirstLook = 2'000'000;
// Tries to send a signal while the queue of those that wait is full: the limit is the user's, for all of his processes.
constexpr int kSendTries = 100;

constinit int stop_signal = 0;  // 0: not chosen yet
constinit bool chosen = false;  // by us
constinit int installed = 0;    // the signal that has our handler
constinit Record* records = nullptr;
using IsService = bool (*)(uint32_t id);
constinit IsService is_service = nullptr;

// The thread that stops, or 0. Who waits for its place does so with signals open, and so is stopped.
constinit std::atomic<uint32_t> stopper{0};
constinit std::atomic<size_t> asked{0};      // records in use; who stops
constinit std::atomic<uint32_t> over{0};     // counts stops that are over; futex of those who are stopped
constinit std::atomic<uint32_t> answers{0};  // handlers that came to kStopped, and then to kGone; futex of who stops
constinit std::atomic<uint32_t> awaited{0};  // answers for which to wake it
constinit size_t stopped = 0;                // who stops, as the next
constinit size_t unstopped = 0;

void answer() {
  // seq_cst, both: pairs with wait_for(), which sets `awaited` and then looks at the answers.
  if (answers.fetch_add(1, std::memory_order_seq_cst) + 1 >= awaited.load(std::memory_order_seq_cst)) {
    sys::futex_wake(&answers, 1);
  }
}

// Runs in whatever the thread was doing.
void on_stop(int, siginfo_t* info, void* context) {
  if (info->si_code != SI_QUEUE || info->si_pid != sys::process_id()) return;
  // One that was blocked in an earlier stop names a record that is another thread's by now.
  const auto value = reinterpret_cast<uintptr_t>(info->si_value.sival_ptr);
  const auto stop = static_cast<uint32_t>(value / kMaxThreads);
  if (stop != over.load(std::memory_order_acquire)) return;  // pairs with the release in resume_world()
  Record& r = records[value % kMaxThreads];
  r.registers = static_cast<const ucontext_t*>(context);
  r.sp = stack_pointer(r.registers);
  r.thread_pointer = reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
  State state = State::kAsked;
  // release: who stops reads what stands above, and what the thread wrote before.
  if (!r.state.compare_exchange_strong(state, State::kStopped, std::memory_order_acq_rel, std::memory_order_relaxed))
    return;  // just given up
  const int saved_errno = errno;
  answer();
  // acquire: what who stops changed meanwhile is there.
  while (over.load(std::memory_order_acquire) == stop) sys::futex_wait(&over, stop, -1);
  r.state.store(State::kGone, std::memory_order_release);  // the record is not touched from here on
  answer();
  errno = saved_errno;
}

bool is_ours(int signal) {
  struct sigaction action = {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_sigaction == on_stop;
}

bool choose_signal() {
  // One that the program has put a handler of its own on since is the program's.
  const bool was_taken = chosen && installed == stop_signal && !is_ours(stop_signal);
  if (stop_signal != 0 && !was_taken) return stop_signal > 0 && stop_signal <= SIGRTMAX;
  // From the last on: programs count from the first.
  for (int s = SIGRTMAX; s > SIGRTMIN; --s) {
    struct sigaction action = {};
    if (sigaction(s, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
      stop_signal = s;
      chosen = true;
      return true;
    }
  }
  return false;
}

/// By who has the stopper's place: the handler, and the memory for the records.
int prepare() {
  if (!choose_signal()) return -EINVAL;
  if (records == nullptr) {
    records = static_cast<Record*>(os::map(kMaxThreads * sizeof(Record), os::page_size()));
    if (records == nullptr) return -ENOMEM;
    if (!own_memory::add(records, kMaxThreads * sizeof(Record))) {
      os::unmap(records, kMaxThreads * sizeof(Record));
      records = nullptr;
      return -ENOMEM;
    }
  }
  if (installed == stop_signal && is_ours(installed)) return 0;
  struct sigaction action = {};
  action.sa_sigaction = on_stop;
  // On a thread's own signal stack, where it has one: its stack may be small, and nearly full.
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  if (sigaction(stop_signal, &action, nullptr) != 0) return -EINVAL;
  installed = stop_signal;
  return 0;
}

/// 0, -ESRCH, or -EAGAIN.
long send(uint32_t id, size_t index) {
  siginfo_t info = {};
  info.si_signo = stop_signal;
  info.si_code = SI_QUEUE;
  info.si_pid = sys::process_id();
  const uint64_t stop = over.load(std::memory_order_relaxed);
  info.si_value.sival_ptr = reinterpret_cast<void*>(stop * kMaxThreads + index);
  long r = 0;
  for (int i = 0; i < kSendTries; ++i) {
    r = arch::system_call(SYS_rt_tgsigqueueinfo, sys::process_id(), static_cast<long>(id), stop_signal,
                          reinterpret_cast<long>(&info));
    if (r != -EAGAIN) break;
    sys::yield();
  }
  return r;
}

/// Asks all threads that have not been asked; how many, or an error: those of each_task(), or -EAGAIN: too many threads.
long ask_new() {
  const size_t before = asked_count();
  const uint32_t me = sys::thread_id();
  size_t cursor = 0;  // the kernel lists them in the same order again
  bool too_many = false;
  const long error = each_task([&](uint32_t id) {
    if (id == me || os::is_bare_thread(id) || (is_service != nullptr && is_service(id))) return;
    const size_t n = asked_count();
    if (cursor < n && records[cursor].id == id) {
      ++cursor;
      return;
    }
    for (size_t i = 0; i < before; ++i) {
      if (records[i].id == id) {
        cursor = i + 1;
        return;
      }
    }
    if (n == kMaxThreads) {
      too_many = true;
      return;
    }
    records[n].id = id;
    records[n].state.store(State::kAsked, std::memory_order_release);
    const long r = send(id, n);
    if (r == -ESRCH) return;
    if (r != 0) records[n].state.store(State::kGivenUp, std::memory_order_relaxed);
    asked.store(n + 1, std::memory_order_relaxed);
    cursor = n + 1;
  });
  if (error != 0) return error;
  return too_many ? -EAGAIN : static_cast<long>(asked_count() - before);
}

/// How long to wait for a thread that is in this state.
constexpr int64_t patience(TaskState state) {
  switch (state) {
    case TaskState::kMayAnswer:
      return kPatience;
    case TaskState::kInKernel:
      return kKernelPatience;
    case TaskState::kDeaf:
    case TaskState::kEnded:
      break;
  }
  return 0;
}

/// Gives those up that will not answer.
void give_up(int64_t waited) {
  for (size_t i = 0; i < asked_count(); ++i) {
    Record& r = records[i];
    State state = State::kAsked;
    if (r.state.load(std::memory_order_relaxed) != state) continue;
    const TaskState what = task_state(r.id, stop_signal);
    // One of ours, asked while it was being started: the kernel lists it before it says its id.
    const bool is_ours = os::is_bare_thread(r.id) || (is_service != nullptr && is_service(r.id));
    if (waited < patience(what) && !is_ours) continue;
    const State given_up = what == TaskState::kEnded || is_ours ? State::kEnded : State::kGivenUp;
    (void)r.state.compare_exchange_strong(state, given_up, std::memory_order_relaxed);
  }
}

size_t count(State state) {
  size_t n = 0;
  for (size_t i = 0; i < asked_count(); ++i) n += records[i].state.load(std::memory_order_acquire) == state;
  return n;
}

/// Waits until nobody is in `state`, of those who leave it by an answer.
void wait_while_any(State state) {
  const int64_t begin = os::now_ns();
  int64_t pause = kFirstLook;
  for (;;) {
    const uint32_t seen = answers.load(std::memory_order_acquire);
    const size_t n = count(state);
    if (n == 0) return;
    awaited.store(seen + static_cast<uint32_t>(n), std::memory_order_seq_cst);
    if (answers.load(std::memory_order_seq_cst) != seen) continue;
    sys::futex_wait(&answers, seen, pause);
    if (state != State::kAsked || answers.load(std::memory_order_relaxed) != seen) continue;
    give_up(os::now_ns() - begin);
    if (pause < kPatience / 16) pause *= 2;
  }
}

/// False if it is the caller's already.
bool take_place() {
  const uint32_t me = sys::thread_id();
  if (stopper.load(std::memory_order_relaxed) == me) return false;
  for (;;) {
    uint32_t other = 0;
    // acquire: pairs with the release in leave_place(): the records are free.
    if (stopper.compare_exchange_weak(other, me, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    if (other != 0) sys::futex_wait(&stopper, other, -1);
  }
}

void leave_place() {
  stopper.store(0, std::memory_order_release);  // pairs with the acquire in take_place()
  sys::futex_wake(&stopper, 1);
}

}  // namespace

void set_stop_signal(int signal) {
  stop_signal = signal;
  chosen = false;
}
int get_stop_signal() { return stop_signal; }

void set_service_threads(bool (*is_one)(uint32_t id)) { is_service = is_one; }

size_t asked_count() { return asked.load(std::memory_order_relaxed); }
size_t stopped_count() { return stopped; }
size_t unstopped_count() { return unstopped; }

bool stopped_thread(size_t i, StoppedThread* out) {
  const Record& r = records[i];
  if (r.state.load(std::memory_order_acquire) != State::kStopped) return false;
  *out = {r.id, r.sp, r.thread_pointer, r.registers, registers_end(r.registers)};
  return true;
}

int stop_world(void (*lock)(), void (*unlock)()) {
  if (!take_place()) return -EBUSY;
  answers.store(0, std::memory_order_relaxed);
  long r = prepare();
  if (lock != nullptr) lock();
  // Threads make threads: only a round that finds no new one has found them all.
  while (r == 0) {
    const long n = ask_new();
    wait_while_any(State::kAsked);
    if (n == 0) break;
    if (n < 0) r = n;
  }
  if (unlock != nullptr) unlock();
  if (r != 0) {
    resume_world();
    return static_cast<int>(r);
  }
  stopped = count(State::kStopped);
  unstopped = count(State::kGivenUp);
  return 0;
}

void resume_world() {
  over.fetch_add(1, std::memory_order_release);  // pairs with the acquire in the handler
  sys::futex_wake(&over, INT32_MAX);
  wait_while_any(State::kStopped);
  asked.store(0, std::memory_order_relaxed);
  stopped = unstopped = 0;
  leave_place();
}

void stop_reset_after_fork() {
  stopper.store(0, std::memory_order_relaxed);
  asked.store(0, std::memory_order_relaxed);
  // A signal that was sent to the parent's thread finds its stop over.
  over.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace tri::gc
