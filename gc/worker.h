// worker.h - Threads of the collector: started for a cycle's sake, gone when it is done.
//
// libc does not know of them (os::BareThread): all signals are blocked in them, they may use neither malloc nor libc's thread-local
// storage, and stop_world() leaves them alone. So they work while the world stands as well as while it runs. What they keep on their
// stacks is no root: the memory is on the list of what the library has for itself.
//
// Records and stacks are used again from cycle to cycle; an idle one's stack takes addresses only.
//
// See gc.h for the overview. Used by: mark_team, leaks.
#ifndef TRI_GC_WORKER_H
#define TRI_GC_WORKER_H

namespace tri::gc {

class Workers {
 public:
  // More than this share no marking any more.
  static constexpr unsigned kMost = 32;
  using Fn = void (*)(void* arg, unsigned index);

  Workers() = default;
  ~Workers();  // nobody works any more: join() came before
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Starts up to n threads, which call fn(arg, 0), fn(arg, 1), ... each once. Returns how many: fewer where memory or threads are
  /// short, or where other Workers have them; 0 is possible. Takes a short lock of the allocator's for the first of them ever.
  [[nodiscard]] unsigned start(unsigned n, Fn fn, void* arg);
  /// Waits until all have returned from fn and are gone. What they wrote is seen.
  void join();
  unsigned count() const { return count_; }

 private:
  unsigned count_ = 0;
  struct Worker* mine_[kMost] = {};
};

/// In a forked child there are none, whatever the parent was at.
void workers_reset_after_fork();

}  // namespace tri::gc

#endif
