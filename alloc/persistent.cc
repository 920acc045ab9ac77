// persistent.cc - See persistent.h.
#include "alloc/persistent.h"

#include <atomic>

#include "alloc/base/bits.h"
#include "alloc/base/lock.h"
#include "alloc/os/os.h"

namespace tri::persistent {
namespace {

// 64 KiB: the metadata of a small program fits one chunk; pages of it that are not touched cost nothing.
constexpr size_t kChunkBytes = 64 * 1024;

constinit Lock metadata_lock{LockRank::kMetadata};
constinit char* next = nullptr;
constinit char* end = nullptr;
constinit std::atomic<size_t> mapped{0};

}  // namespace

void* alloc(size_t bytes, size_t alignment) {
  LockGuard guard(metadata_lock);
  char* p = align_up(next, alignment);
  if (next == nullptr || p > end || bytes > static_cast<size_t>(end - p)) {
    // What is left of the old chunk is lost: under a sixteenth of it, as larger records get a chunk of their own.
    const bool is_large = bytes > kChunkBytes / 16;
    const size_t chunk = is_large ? align_up(bytes, os::page_size()) : kChunkBytes;
    p = static_cast<char*>(os::map(chunk, os::page_size()));
    if (p == nullptr) return nullptr;
    mapped.fetch_add(chunk, std::memory_order_relaxed);
    if (is_large) return p;
    end = p + chunk;
  }
  next = p + bytes;
  return p;
}

size_t mapped_bytes() { return mapped.load(std::memory_order_relaxed); }

Lock& lock() { return metadata_lock; }

}  // namespace tri::persistent
