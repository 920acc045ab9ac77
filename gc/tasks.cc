// tasks.cc - See tasks.h. By system calls alone: it runs while other threads may hold any lock.
#include "gc/tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include <cstring>

#include "alloc/base/print.h"
#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

/// What follows `key` in a file of lines; null if it is not there.
const char* find(const char* text, const char* key) {
  const char* const found = strstr(text, key);
  return found == nullptr ? nullptr : found + strlen(key);
}

}  // namespace

int open_tasks() {
  return static_cast<int>(arch::system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>("/proc/self/task"),
                                            O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
}
void close_tasks(int fd) { arch::system_call(SYS_close, fd); }
long list_tasks(int fd, char* buffer, size_t size) {
  return arch::system_call(SYS_getdents64, fd, reinterpret_cast<long>(buffer), static_cast<long>(size));
}

uint32_t task_at(const char* at, const char** next) {
  const auto* const entry = reinterpret_cast<const dirent64*>(at);
  *next = at + entry->d_reclen;
  uint32_t id = 0;
  for (const char* c = entry->d_name; *c >= '0' && *c <= '9'; ++c) id = id * 10 + static_cast<uint32_t>(*c - '0');
  return id;
}

TaskState task_state(uint32_t id, int signal) {
  Line path;
  path.text("/proc/self/task/").number(uint64_t{id}).text("/status").text("", 1);
  char text[2048];  // what is asked for stands in the first half
  const long n = os::read_file(path.data(), text, sizeof text - 1);
  if (n <= 0) return TaskState::kEnded;
  text[n] = 0;
  const char* const state = find(text, "\nState:\t");
  const char* blocked = find(text, "\nSigBlk:\t");
  if (state == nullptr || blocked == nullptr || *state == 'Z' || *state == 'X') return TaskState::kEnded;
  if (*state == 'D') return TaskState::kInKernel;
  if (*state != 'S') return TaskState::kMayAnswer;
  uint64_t mask = 0;
  for (; *blocked != '\n' && *blocked != 0; ++blocked) {
    mask = mask * 16 + static_cast<uint64_t>(*blocked <= '9' ? *blocked - '0' : *blocked - 'a' + 10);
  }
  return (mask >> (signal - 1) & 1) != 0 ? TaskState::kDeaf : TaskState::kMayAnswer;
}

}  // namespace tri::gc
