// memory_map.cc - See memory_map.h. Linux's Documentation/admin-guide/mm/pagemap.rst describes what is asked here.
#include "gc/memory_map.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "alloc/base/bits.h"
#include "alloc/base/line_reader.h"
#include "alloc/os/os.h"
#include "gc/os/linux/pagemap_scan.h"
#include "gc/own_map.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

using arch::system_call;

// Mappings of most programs.
constinit std::atomic<size_t> expected{120};

// ---- /proc/self/maps

/// "7f12a000-7f12b000 rw-p 00000000 08:01 1234   /usr/lib/x.so"
bool parse(const char* line, Mapping* out) {
  const char* s = line;
  uint64_t begin = 0;
  uint64_t end = 0;
  if (!parse_hex(&s, &begin) || *s++ != '-' || !parse_hex(&s, &end) || *s++ != ' ' || strlen(s) < 4) return false;
  const char* name = strpbrk(s, "/[");
  if (name == nullptr) name = "";
  const auto starts = [&](const char* with) { return strncmp(name, with, strlen(with)) == 0; };
  // The kernel's own pages ([vvar], [vdso]) hold nothing of the program's; a device may mind being read. Of a file, what is read-only by now was
  // written by the dynamic linker, before there were blocks.
  const bool is_device = starts("/dev/") && !starts("/dev/shm/") && !starts("/dev/zero");
  const bool is_constant = s[1] != 'w' && s[3] == 'p' && starts("/");
  *out = {begin,
          end,
          s[0] == 'r' && !starts("[v") && !is_device && !is_constant,
          s[0] == 'r' || s[1] == 'w' || s[2] == 'x',
          s[3] == 's',
          starts("[stack]")};
  return true;
}

// ---- /proc/self/pagemap

constexpr uint64_t kPresent = uint64_t{1} << 63;
constexpr uint64_t kSwapped = uint64_t{1} << 62;
constexpr uint64_t kOfFile = uint64_t{1} << 61;  // or shared

int open_for_reading(const char* path) {
  return static_cast<int>(system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path), O_RDONLY | O_CLOEXEC));
}

long read_at(int fd, void* to, size_t bytes, uint64_t offset) {
  return system_call(SYS_pread64, fd, reinterpret_cast<long>(to), static_cast<long>(bytes), static_cast<long>(offset));
}

}  // namespace

// ---- mappings -----------------------------------------------------------------------------------------------------

int MemoryMap::read() {
  // As many as the last time, and some more: the file is slow to read, and seldom read twice.
  for (size_t room = expected.load(std::memory_order_relaxed);;) {
    release();
    const long lines = read_once(room);
    if (lines < 0) return static_cast<int>(lines);
    const size_t n = static_cast<size_t>(lines) + 1;  // this very mapping may divide one
    if (n <= room) return 0;
    room = n + n / 8 + 16;
    expected.store(room, std::memory_order_relaxed);
  }
}

/// The number of lines; not all are kept if there are more than room for.
long MemoryMap::read_once(size_t room) {
  LineReader maps("/proc/self/maps");
  if (!maps.is_open()) return maps.error();
  bytes_ = align_up(room * sizeof(Mapping), os::page_size());
  mappings_ = static_cast<Mapping*>(map_own(bytes_, os::page_size()));
  if (mappings_ == nullptr) return -ENOMEM;
  const auto own = reinterpret_cast<uintptr_t>(mappings_);
  long lines = 0;
  while (const char* line = maps.next()) {
    Mapping m;
    ++lines;
    if (!parse(line, &m) || count_ + 1 >= room) continue;
    if (!m.contains(own)) {
      mappings_[count_++] = m;
      continue;
    }
    Mapping below = m;
    below.end = own;
    m.begin = own + bytes_;
    if (below.begin < below.end) mappings_[count_++] = below;
    if (m.begin < m.end) mappings_[count_++] = m;
  }
  return lines;
}

void MemoryMap::release() {
  if (mappings_ != nullptr) unmap_own(mappings_, bytes_);
  mappings_ = nullptr;
  count_ = 0;
}

// ---- pages --------------------------------------------------------------------------------------------------------

int PageReader::open() {
  pages_ = open_for_reading("/proc/self/pagemap");
  if (pages_ < 0) return pages_;
  memory_ = open_for_reading("/proc/self/mem");
  return memory_ < 0 ? memory_ : 0;
}

PageReader::~PageReader() {
  if (pages_ >= 0) system_call(SYS_close, pages_);
  if (memory_ >= 0) system_call(SYS_close, memory_);
}

bool PageReader::next_run(const Mapping& m, uintptr_t* at, uintptr_t end, Run* out) {
  if (can_scan_) {
    const bool found = next_scanned(m, at, end, out);
    if (can_scan_) return found;
  }
  return next_listed(m, at, end, out);
}

bool PageReader::next_scanned(const Mapping& m, uintptr_t* at, uintptr_t end, Run* out) {
  if (next_found_ == found_) {
    if (all_found_) return false;
    ScanArg arg = scan_of(*at, end);
    arg.vec = reinterpret_cast<uint64_t>(runs_);
    arg.vec_len = kFoundAtOnce;
    arg.category_inverted = arg.category_mask = m.shared ? kPageIsZero : kPageIsZero | kPageIsFile;
    arg.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    arg.return_mask = kPageIsPresent;
    const long n = system_call(SYS_ioctl, pages_, static_cast<long>(kPagemapScan), reinterpret_cast<long>(&arg));
    can_scan_ = n >= 0;
    if (n <= 0) return false;
    next_found_ = 0;
    found_ = static_cast<size_t>(n);
    all_found_ = arg.walk_end >= end;
  }
  const Found& found = runs_[next_found_++];
  *at = found.end;
  *out = {found.begin, found.end, (found.categories & kPageIsPresent) != 0};
  return true;
}

bool PageReader::next_listed(const Mapping& m, uintptr_t* at, uintptr_t end, Run* out) {
  const size_t page = os::page_size();
  *out = {0, 0, false};
  while (*at < end) {
    uint64_t entries[512];
    const size_t left = (end - *at) / page;
    const size_t wanted = left < 512 ? left : 512;
    const long got = read_at(pages_, entries, wanted * sizeof entries[0], *at / page * sizeof entries[0]);
    const size_t n = got > 0 ? static_cast<size_t>(got) / sizeof entries[0] : 0;
    // Without the list, all of it may be in use.
    for (size_t i = n; i < wanted; ++i) entries[i] = kSwapped;
    for (size_t i = 0; i < wanted; ++i, *at += page) {
      const bool present = (entries[i] & kPresent) != 0;
      const bool written =
          (entries[i] & (kPresent | kSwapped)) != 0 && (m.shared || n == 0 || (entries[i] & kOfFile) == 0);
      if (out->begin == 0 && written) {
        *out = {*at, *at + page, present};
      } else if (out->begin != 0) {
        if (!written || present != out->present) return true;
        out->end += page;
      }
    }
  }
  return out->begin != 0;
}

size_t PageReader::read(uintptr_t from, char* to, size_t bytes) {
  const long n = read_at(memory_, to, bytes, from);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

MemoryCopier::~MemoryCopier() { unmap_own_array(buffer_, kBytes); }

int MemoryCopier::open() {
  buffer_ = map_own_array<char>(kBytes);
  return buffer_ == nullptr ? -ENOMEM : PageReader::open();
}

}  // namespace tri::gc
