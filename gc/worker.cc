// worker.cc - See worker.h.
#include "gc/worker.h"

#include <atomic>

#include "alloc/base/check.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"

namespace tri::gc {

struct Worker {
  os::BareThread thread;
  std::atomic<bool> taken{false};  // whose it is may touch the rest
  bool is_known = false;           // its memory is on the list
  unsigned index = 0;
  Workers::Fn fn = nullptr;
  void* arg = nullptr;
};

namespace {

constinit Worker pool[Workers::kMost];

void run(void* arg) {
  const auto* const w = static_cast<const Worker*>(arg);
  w->fn(w->arg, w->index);
}

bool start_one(Worker* w) {
  if (!os::start_bare_thread(&w->thread, run, w)) return false;
  if (!w->is_known && w->thread.memory != nullptr) {
    // Without memory to note it in, there is a root too many, and another try next time.
    w->is_known = own_memory::add(w->thread.memory, os::bare_thread_bytes());
  }
  return true;
}

void release(Worker* w) { w->taken.store(false, std::memory_order_release); }  // pairs with the acquire in start()

}  // namespace

Workers::~Workers() { TRI_ASSERT(count_ == 0); }

unsigned Workers::start(unsigned n, Fn fn, void* arg) {
  TRI_ASSERT(count_ == 0);
  for (Worker& w : pool) {
    if (count_ == n) break;
    if (w.taken.exchange(true, std::memory_order_acquire)) continue;
    w.fn = fn;
    w.arg = arg;
    w.index = count_;
    if (!start_one(&w)) {
      release(&w);
      break;
    }
    mine_[count_++] = &w;
  }
  return count_;
}

void Workers::join() {
  for (unsigned i = 0; i < count_; ++i) {
    os::join_bare_thread(&mine_[i]->thread);
    release(mine_[i]);
  }
  count_ = 0;
}

void workers_reset_after_fork() {
  for (Worker& w : pool) w.taken.store(false, std::memory_order_relaxed);
}

}  // namespace tri::gc
