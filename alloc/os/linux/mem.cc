// mem.cc - Memory from Linux. See os.h.
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>

#include "alloc/base/bits.h"
#include "alloc/base/check.h"
#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::os {
namespace {

using arch::system_call;

constexpr long kNoFailure = -1;
constinit std::atomic<long> calls_until_failure{kNoFailure};

bool fails_now() {
  long n = calls_until_failure.load(std::memory_order_relaxed);
  while (n > 0) {
    if (calls_until_failure.compare_exchange_weak(n, n - 1, std::memory_order_relaxed)) return false;
  }
  return n == 0;
}

void* mmap_anonymous(size_t bytes, int protection) {
  const long p = system_call(SYS_mmap, 0, static_cast<long>(bytes), protection,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE * (protection == PROT_NONE ? 1 : 0), -1, 0);
  // The kernel returns -errno in the last page of the address space.
  return static_cast<unsigned long>(p) > -4096UL ? nullptr : reinterpret_cast<void*>(p);
}

void* map_aligned(size_t bytes, size_t alignment, int protection) {
  if (fails_now()) return nullptr;
  auto* p = static_cast<char*>(mmap_anonymous(bytes, protection));
  if (p == nullptr || is_aligned(reinterpret_cast<size_t>(p), alignment)) return p;
  // Mappings are placed next to each other, so the first try is often aligned; only otherwise is more than needed
  // taken, and trimmed.
  unmap(p, bytes);
  const size_t slack = alignment - page_size();
  if (bytes > SIZE_MAX - slack) return nullptr;
  p = static_cast<char*>(mmap_anonymous(bytes + slack, protection));
  if (p == nullptr) return nullptr;
  char* const start = align_up(p, alignment);
  const auto before = static_cast<size_t>(start - p);
  if (before != 0) unmap(p, before);
  if (before != slack) unmap(start + bytes, slack - before);
  return start;
}

}  // namespace

size_t page_size() { return arch::page_size(); }

void* reserve(size_t bytes, size_t alignment) { return map_aligned(bytes, alignment, PROT_NONE); }

void* map(size_t bytes, size_t alignment) { return map_aligned(bytes, alignment, PROT_READ | PROT_WRITE); }

bool commit(void* p, size_t bytes) {
  if (fails_now()) return false;
  return system_call(SYS_mprotect, reinterpret_cast<long>(p), static_cast<long>(bytes), PROT_READ | PROT_WRITE) == 0;
}

bool make_readable(void* p, size_t bytes) {
  if (fails_now()) return false;
  return system_call(SYS_mprotect, reinterpret_cast<long>(p), static_cast<long>(bytes), PROT_READ) == 0;
}

void unmap(void* p, size_t bytes) {
  // Fails only when splitting a mapping would exceed vm.max_map_count: the memory then goes back without the addresses.
  if (system_call(SYS_munmap, reinterpret_cast<long>(p), static_cast<long>(bytes)) != 0) purge(p, bytes);
}

bool purge(void* p, size_t bytes) {
  // DONTNEED, not FREE: it lowers the resident size at once, which is what people look at and what limits count.
  return system_call(SYS_madvise, reinterpret_cast<long>(p), static_cast<long>(bytes), MADV_DONTNEED) == 0;
}

bool resize(void* p, size_t old_bytes, size_t new_bytes) {
  if (new_bytes > old_bytes && fails_now()) return false;
  return system_call(SYS_mremap, reinterpret_cast<long>(p), static_cast<long>(old_bytes), static_cast<long>(new_bytes),
                     0) >= 0;
}

bool move(void* p, size_t old_bytes, void* place, size_t new_bytes) {
  if (fails_now()) return false;
  const long q =
      system_call(SYS_mremap, reinterpret_cast<long>(p), static_cast<long>(old_bytes), static_cast<long>(new_bytes),
                  MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<long>(place));
  return static_cast<unsigned long>(q) <= -4096UL;
}

void advise_huge(void* p, size_t bytes, int wish) {
  if (wish == 0) return;
  system_call(SYS_madvise, reinterpret_cast<long>(p), static_cast<long>(bytes),
              wish > 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

size_t address_space_limit() {
  rlimit limit{};
  if (system_call(SYS_prlimit64, 0, RLIMIT_AS, 0, reinterpret_cast<long>(&limit)) != 0) return SIZE_MAX;
  return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : limit.rlim_cur;
}

void fail_after(long n) { calls_until_failure.store(n < 0 ? kNoFailure : n, std::memory_order_relaxed); }

}  // namespace tri::os
