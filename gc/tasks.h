// tasks.h - What the kernel says of the threads of this process.
//
// Used by: stop.
#ifndef TRI_GC_TASKS_H
#define TRI_GC_TASKS_H

#include <cstddef>
#include <cstdint>

namespace tri::gc {

enum class TaskState : uint8_t {
  kEnded,      // or about to: a main thread that has left by pthread_exit() is there, but never runs again
  kDeaf,       // sleeps, and blocks this signal
  kInKernel,   // sleeps where no signal reaches it: for its memory or its disk, which is short, or in vfork()
  kMayAnswer,  // runs, or blocks it only while it runs
};
TaskState task_state(uint32_t id, int signal);

/// Reads a directory of /proc; at most `size` bytes of entries at a time. See each_task().
long list_tasks(int fd, char* buffer, size_t size);
int open_tasks();
void close_tasks(int fd);
/// The number that the entry at `at` is named by, 0 for none; *next is where the next one begins.
uint32_t task_at(const char* at, const char** next);

/// Calls fn(id) for each thread; one that begins meanwhile may be missed. 0, or a negative errno: -ENOENT without /proc, -EMFILE.
template <class Fn>
long each_task(Fn&& fn) {
  const int fd = open_tasks();
  if (fd < 0) return fd;
  alignas(8) char buffer[4096];
  long n;
  while ((n = list_tasks(fd, buffer, sizeof buffer)) > 0) {
    for (const char* at = buffer; at < buffer + n;) {
      if (const uint32_t id = task_at(at, &at)) fn(id);
    }
  }
  close_tasks(fd);
  return n;
}

}  // namespace tri::gc

#endif
