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

struct ThreadWords {
  M* m = nullptr;                // null in a plain thread
  G* g = nullptr;                // the goroutine, or the stand-in, if it has been made; null in the scheduler
  uint32_t critical = 0;         // critical sections (critical.h) that it is in
  uint32_t preempt_pending = 0;  // the signal came meanwhile
};

extern "C" {
TRI_INTERNAL extern constinit thread_local ThreadWords tri_tls;  // a plain name, for the assembly
}

inline M* current_m() { return static_cast<M*>(read_word<offsetof(ThreadWords, m)>()); }
inline G* current_g() { return static_cast<G*>(read_word<offsetof(ThreadWords, g)>()); }
inline void set_current_g(G* g) { write_word<offsetof(ThreadWords, g)>(g); }

}  // namespace tri::sched

#endif
