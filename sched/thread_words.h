// thread_words.h - What the scheduler keeps of each thread: four words, in one place of its thread-local storage.
//
// A goroutine may leave a thread in one call and come back from it on another. A compiler that knows of threads only takes
// the address of a thread-local variable once and keeps it across that call, which is then the other thread's variable (GCC and
// Clang have no way to be told; see llvm-project#98479). So the words are read by assembly (sched_arch.h), anew each time; what is the same
// in all threads, the offset of the place, may be kept.
//
// They belong to the thread, never to the goroutine. initial-exec.
//
// Used by: critical, m, and where a handler or a child is known to stay in its thread, by name: preempt, fork.
#ifndef TRI_SCHED_THREAD_WORDS_H
#define TRI_SCHED_THREAD_WORDS_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/check.h"
#include "sched_arch.h"

namespace tri::sched {

struct M;
struct G;

/// What remains to be done at the end of a critical section (critical.h).
enum class Todo : uint32_t {
  kNothing,
  kPreempt,  // the signal came meanwhile
  // For the goroutine that left the thread last, now that its registers are saved; set by itself. It gives its turn up anyway, so a
  // signal that came before may be forgotten.
  kPark,    // it waits: arm its deadline, release the lock
  kYield,   // to the tail of the local queue
  kExit,    // its record and its stack are free
  kGlobal,  // to the global queue
};

struct ThreadWords {
  M* m = nullptr;         // null in a plain thread
  G* g = nullptr;         // the goroutine, or the stand-in, if it has been made; null in the scheduler
  uint32_t critical = 0;  // critical sections that it is in
  Todo todo = Todo::kNothing;
};

extern "C" {
TRI_INTERNAL extern constinit thread_local ThreadWords tri_tls;  // a plain name, for the assembly
}

inline M* current_m() { return static_cast<M*>(read_word<offsetof(ThreadWords, m)>()); }
inline G* current_g() { return static_cast<G*>(read_word<offsetof(ThreadWords, g)>()); }
inline void set_current_g(G* g) { write_word<offsetof(ThreadWords, g)>(g); }

[[gnu::always_inline]] inline Todo read_todo(uintptr_t words) {
  return static_cast<Todo>(read32<offsetof(ThreadWords, todo)>(words));
}
template <Todo todo>
[[gnu::always_inline]] inline void set_todo() {
  set32<offsetof(ThreadWords, todo), static_cast<uint32_t>(todo)>();
}

}  // namespace tri::sched

#endif
