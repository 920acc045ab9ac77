// proc.cc - What the process can find out about itself. See os.h.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstring>

#include "alloc/base/bits.h"
#include "alloc/base/line_reader.h"
#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::os {
using arch::system_call;

uint64_t random64() {
  uint64_t n = 0;
  constexpr unsigned kNonBlocking = 1;  // GRND_NONBLOCK: early in boot a weak key is better than a hang
  if (system_call(SYS_getrandom, reinterpret_cast<long>(&n), sizeof n, kNonBlocking) == sizeof n) return n;
  n = static_cast<uint64_t>(now_ns()) ^ reinterpret_cast<uint64_t>(&n) ^
      (static_cast<uint64_t>(sys::process_id()) << 40);
  return mix(n);
}

long read_file(const char* path, char* buffer, size_t size) {
  const long fd = system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t used = 0;
  while (used + 1 < size) {
    const long n = system_call(SYS_read, fd, reinterpret_cast<long>(buffer + used), static_cast<long>(size - 1 - used));
    if (n == -EINTR) continue;
    if (n <= 0) break;
    used += static_cast<size_t>(n);
  }
  system_call(SYS_close, fd);
  buffer[used] = 0;
  return static_cast<long>(used);
}

size_t resident_bytes() {
  char buffer[128];
  if (read_file("/proc/self/statm", buffer, sizeof buffer) <= 0) return 0;
  // "size resident shared ...", in pages.
  const char* p = strchr(buffer, ' ');
  size_t pages = 0;
  for (p = p == nullptr ? "" : p + 1; *p >= '0' && *p <= '9'; ++p) pages = pages * 10 + static_cast<size_t>(*p - '0');
  return pages * page_size();
}

bool is_readable(uintptr_t p) {
  // The kernel copies the set in before it looks at what is to be done with it, which is nothing: EINVAL, or EFAULT. (The idea is Abseil's.)
  constexpr long kNoSuchOrder = ~0L;
  return system_call(SYS_rt_sigprocmask, kNoSuchOrder, static_cast<long>(p), 0, 8) != -EFAULT;
}

bool read_memory(void* to, uintptr_t from, size_t bytes) {
  const iovec local = {to, bytes};
  const iovec remote = {reinterpret_cast<void*>(from), bytes};
  // Any thread stands for its process, and our id is known without a call.
  const long n = system_call(SYS_process_vm_readv, sys::thread_id(), reinterpret_cast<long>(&local), 1,
                             reinterpret_cast<long>(&remote), 1, 0);
  if (n >= 0) return n == static_cast<long>(bytes);
  if (n != -EPERM && n != -ENOSYS) return false;
  const size_t page = page_size();
  for (uintptr_t at = align_down(from, page); at < from + bytes; at += page) {
    if (!is_readable(at)) return false;
  }
  memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return true;
}

Mapping what_is_mapped_at(const void* p, char* name, size_t name_size) {
  const auto address = reinterpret_cast<uint64_t>(p);
  // The stack of a thread is an anonymous mapping like any other; the calling thread's is known by this frame.
  LineReader maps("/proc/self/maps");
  if (!maps.is_open()) return Mapping::kUnknown;
  const auto here = reinterpret_cast<uint64_t>(__builtin_frame_address(0));
  // The zeroed data of a file (.bss) is an anonymous mapping right behind the file's.
  uint64_t file_end = 0;
  name[0] = 0;
  while (char* line = maps.next()) {
    // "7f12a000-7f12b000 rw-p 00000000 08:01 1234   /usr/lib/x.so"
    const char* s = line;
    uint64_t begin = 0;
    uint64_t end = 0;
    if (!parse_hex(&s, &begin) || *s++ != '-' || !parse_hex(&s, &end)) continue;
    const char* slash = strrchr(s, '/');
    if (slash != nullptr) {
      file_end = end;
      strncpy(name, slash + 1, name_size - 1);
      name[name_size - 1] = 0;
    }
    if (address < begin || address >= end) continue;
    if ((here >= begin && here < end) || strstr(s, "[stack") != nullptr) return Mapping::kStack;
    if (strstr(s, "[heap]") != nullptr) return Mapping::kBreak;
    if (slash != nullptr) return Mapping::kFile;
    // Or a mapping of the program's that happens to lie there: the dynamic linker knows how far its objects reach.
    Dl_info object;
    return begin == file_end && dladdr(p, &object) != 0 ? Mapping::kFile : Mapping::kAnonymous;
  }
  return Mapping::kNone;
}

}  // namespace tri::os

namespace tri::sys {

using arch::system_call;

void write_all(int fd, const char* data, size_t length) {
  while (length != 0) {
    const long n = system_call(SYS_write, fd, reinterpret_cast<long>(data), static_cast<long>(length));
    if (n == -EINTR) continue;
    if (n <= 0) return;
    data += n;
    length -= static_cast<size_t>(n);
  }
}

const char* program_name() {
  // libc fills it before any constructor runs; before that it is empty.
  return program_invocation_short_name != nullptr ? program_invocation_short_name : "?";
}

int process_id() { return static_cast<int>(system_call(SYS_getpid)); }

}  // namespace tri::sys
