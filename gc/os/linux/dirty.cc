// dirty.cc - See dirty.h. Linux's Documentation/admin-guide/mm/userfaultfd.rst and pagemap.rst describe what is asked here.
//
// The kernel's structures and numbers are written out: they are newer (Linux 6.7) than the headers that this is built with may be.
#include "gc/dirty.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>

#include "tri_arch.h"

namespace tri::gc {
namespace {

// ---- userfaultfd

struct UffdApi {
  uint64_t api;
  uint64_t features;
  uint64_t ioctls;
};
struct UffdRange {
  uint64_t start;
  uint64_t length;
};
struct UffdRegister {
  UffdRange range;
  uint64_t mode;
  uint64_t ioctls;
};
constexpr unsigned long kUffdApi = _IOWR(0xAA, 0x3F, UffdApi);
constexpr unsigned long kUffdRegister = _IOWR(0xAA, 0x00, UffdRegister);
constexpr unsigned long kUffdUnregister = _IOR(0xAA, 0x01, UffdRange);
constexpr uint64_t kApiVersion = 0xAA;
constexpr uint64_t kRegisterWriteProtect = 1 << 1;
constexpr uint64_t kWriteProtectUnpopulated = 1 << 13;
constexpr uint64_t kWriteProtectAsync = 1 << 15;
// Without privilege only faults of user code may be handled. Ours never are, the kernel settles them itself, so it takes nothing away.
constexpr int kUserModeOnly = 1;

// ---- PAGEMAP_SCAN

struct ScanArg {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(ScanArg) == 96);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArg);
constexpr uint64_t kProtectMatching = 1 << 0;
constexpr uint64_t kCheckWatched = 1 << 1;
constexpr uint64_t kPageIsWritten = 1 << 1;
constexpr uint64_t kPageIsPresent = 1 << 3;
constexpr uint64_t kPageIsSwapped = 1 << 4;
constexpr uint64_t kPageIsZero = 1 << 5;

// Descriptors below this one are left to programs: shells and daemons that close 0 to 2 count on getting them from the next open(), and
// select() takes none from 1024 on. The table of a process grows to here at most.
constexpr long kLowestDescriptor = 900;

// constinit: set by tests only.
constinit std::atomic<long> calls_left{-1};

long checked_call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  // relaxed: a test sets it before the calls that it is about.
  const long left = calls_left.load(std::memory_order_relaxed);
  if (left == 0) return -EPERM;
  if (left > 0) calls_left.store(left - 1, std::memory_order_relaxed);
  return arch::system_call(number, a, b, c, d);
}

template <class Arg>
long control(int fd, unsigned long request, Arg* arg) {
  return checked_call(SYS_ioctl, fd, static_cast<long>(request), reinterpret_cast<long>(arg));
}

ScanArg scan_of(uintptr_t begin, uintptr_t end) {
  ScanArg arg = {};
  arg.size = sizeof arg;
  arg.start = begin;
  arg.end = end;
  arg.category_mask = kPageIsWritten;
  arg.return_mask = kPageIsWritten;
  return arg;
}

}  // namespace

void DirtyPages::fail_after(long n) { calls_left.store(n, std::memory_order_relaxed); }

// ---- descriptors --------------------------------------------------------------------------------------------------

int DirtyPages::Descriptor::adopt(long fd_or_error) {
  if (fd_or_error < 0) return static_cast<int>(fd_or_error);
  const long high = arch::system_call(SYS_fcntl, fd_or_error, F_DUPFD_CLOEXEC, kLowestDescriptor);
  // Where the limit is lower than that, it stays where it is.
  if (high >= 0) arch::system_call(SYS_close, fd_or_error);
  fd = static_cast<int>(high >= 0 ? high : fd_or_error);
  struct stat s;
  const long error = checked_call(SYS_fstat, fd, reinterpret_cast<long>(&s));
  if (error < 0) {
    arch::system_call(SYS_close, fd);
    fd = -1;
    return static_cast<int>(error);
  }
  device = s.st_dev;
  inode = s.st_ino;
  return 0;
}

bool DirtyPages::Descriptor::is_ours() const {
  struct stat s;
  return fd >= 0 && arch::system_call(SYS_fstat, fd, reinterpret_cast<long>(&s)) == 0 && s.st_dev == device &&
         s.st_ino == inode;
}

void DirtyPages::Descriptor::close() {
  // Another file may have its number by now.
  if (is_ours()) arch::system_call(SYS_close, fd);
  fd = -1;
}

// ---- the cycle ----------------------------------------------------------------------------------------------------

int DirtyPages::begin() {
  int error = faults_.adopt(checked_call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly));
  if (error == 0) {
    UffdApi api = {kApiVersion, kWriteProtectUnpopulated | kWriteProtectAsync, 0};
    error = static_cast<int>(control(faults_.fd, kUffdApi, &api));
  }
  if (error == 0) {
    error = pages_.adopt(
        checked_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>("/proc/self/pagemap"), O_RDONLY | O_CLOEXEC));
  }
  if (error != 0) end();
  return error;
}

void DirtyPages::end() {
  pages_.close();
  faults_.close();
}

int DirtyPages::renew(uintptr_t begin, uintptr_t end) {
  if (!faults_.is_ours() || !pages_.is_ours()) return -EBADF;
  UffdRegister reg = {{begin, end - begin}, kRegisterWriteProtect, 0};
  // Mappings that are registered already are passed over: some microseconds for a gigabyte.
  const long error = control(faults_.fd, kUffdRegister, &reg);
  if (error != -EINVAL) return static_cast<int>(error);
  // Said of a range without any mapping, and of mappings that cannot be watched: the latter do not pass this.
  ScanArg arg = scan_of(begin, end);
  arg.flags = kCheckWatched;
  const long n = control(pages_.fd, kPagemapScan, &arg);
  return n < 0 ? -EINVAL : 1;
}

int DirtyPages::watch(uintptr_t begin, uintptr_t end) {
  begin = align_down(begin, os::page_size());
  end = align_up(end, os::page_size());
  const int error = renew(begin, end);
  if (error != 0) return error < 0 ? error : 0;
  // Only what is there: of what is not, the kernel would note for each page that it is protected, terabytes of them in programs that reserve
  // addresses by the terabyte. What comes later is written.
  ScanArg arg = scan_of(begin, end);
  arg.flags = kProtectMatching;
  arg.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
  const long n = control(pages_.fd, kPagemapScan, &arg);
  return n < 0 ? static_cast<int>(n) : 0;
}

void DirtyPages::unwatch(uintptr_t begin, uintptr_t end) {
  if (!faults_.is_ours()) return;
  begin = align_down(begin, os::page_size());
  UffdRange range = {begin, align_up(end, os::page_size()) - begin};
  control(faults_.fd, kUffdUnregister, &range);
}

// The kernel answers this question, and no other, from the page tables alone; for any that has to do with what a page is, it looks at the
// page's own record as well, which is a cache line for each: twice the time for a heap that is mostly clean. Pages that are not there
// count as written here.
int DirtyPages::skip_clean(uintptr_t* at, uintptr_t end) {
  Run run;
  ScanArg arg = scan_of(*at, end);
  arg.vec = reinterpret_cast<uint64_t>(&run);
  arg.vec_len = 1;
  arg.max_pages = 1;
  const long n = control(pages_.fd, kPagemapScan, &arg);
  if (n < 0) return static_cast<int>(n);
  *at = n > 0 ? run.begin : end;
  return 0;
}

long DirtyPages::take(uintptr_t* at, uintptr_t end, bool protect, Run* out) {
  ScanArg arg = scan_of(*at, end);
  arg.flags = protect ? kProtectMatching : 0;
  arg.vec = reinterpret_cast<uint64_t>(out);
  arg.vec_len = kRuns;
  // Pages that are not there, and the page of zeros, hold nothing; without protection, they are dirty as soon as they are written.
  arg.category_mask |= kPageIsZero;
  arg.category_inverted = kPageIsZero;
  arg.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
  arg.return_mask = kPageIsPresent;
  const long n = control(pages_.fd, kPagemapScan, &arg);
  // It ends early when the room is full; but never without having moved on.
  if (n >= 0) *at = arg.walk_end > *at ? arg.walk_end : end;
  return n;
}

}  // namespace tri::gc
