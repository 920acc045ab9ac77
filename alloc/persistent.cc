// persistent.cc - See persistent.h.
#include "alloc/persistent.h"

#include <atomic>

#include "alloc/base/bits.h"
#include "alloc/base/lock.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"

namespace tri::persistent {
namespace {

// 64 KiB: the metadata of a small program fits one chunk; pages of it that are not touched cost nothing.
constexpr size_t kChunkBytes = 64 * 1024;

constinit Lock metadata_lock{LockRank::kMetadata};
constinit char* next = nullptr;
constinit char* end = nullptr;
constinit std::atomic<size_t> mapped{0};

char* map_chunk(size_t bytes) {
  auto* const p = static_cast<char*>(os::map(bytes, os::page_size()));
  if (p != nullptr) mapped.fetch_add(bytes, std::memory_order_relaxed);
  return p;
}

/// From a chunk that is shared.
char* alloc_small(size_t bytes, size_t alignment) {
  char* p = align_up(next, alignment);
  if (next == nullptr || p > end || bytes > static_cast<size_t>(end - p)) {
    // What is left of the old chunk is lost: under a sixteenth of it, as larger records get a chunk of their own.
    char* const chunk = map_chunk(kChunkBytes);
    if (chunk == nullptr) return nullptr;
    own_memory::add(reinterpret_cast<own_memory::Region*>(chunk), chunk, kChunkBytes);
    end = chunk + kChunkBytes;
    p = align_up(chunk + sizeof(own_memory::Region), alignment);
  }
  next = p + bytes;
  return p;
}

}  // namespace

void* alloc(size_t bytes, size_t alignment) {
  LockGuard guard(metadata_lock);
  if (bytes <= kChunkBytes / 16) return alloc_small(bytes, alignment);
  char* const region = alloc_small(sizeof(own_memory::Region), alignof(own_memory::Region));
  if (region == nullptr) return nullptr;
  const size_t chunk_bytes = align_up(bytes, os::page_size());
  char* const chunk = map_chunk(chunk_bytes);
  if (chunk != nullptr) own_memory::add(reinterpret_cast<own_memory::Region*>(region), chunk, chunk_bytes);
  return chunk;
}

size_t mapped_bytes() { return mapped.load(std::memory_order_relaxed); }

Lock& lock() { return metadata_lock; }

}  // namespace tri::persistent
