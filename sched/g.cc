// g.cc - The pool of G records, and the way from a task's id to its record. See g.h.
#include "sched/g.h"

#include <new>

#include "alloc/os/os.h"
#include "alloc/own_memory.h"

namespace tri::sched {
namespace {

// A chunk of records is one mapping, touched as they are used. The table covers 64 Mi goroutines in half a MiB of
// zeroed data, of which a program touches a page.
constexpr uint32_t kChunk = 1024;
constexpr uint32_t kChunks = 65536;

constinit SpinLock pool_lock;
constinit G* pool = nullptr;
constinit std::atomic<uint32_t> slots{0};        // written under pool_lock; release: the record is there
constinit std::atomic<G*> chunks[kChunks] = {};  // written under pool_lock

G* make_g() {
  const uint32_t i = slots.load(std::memory_order_relaxed);
  if (i == kChunk * kChunks) return nullptr;
  G* chunk = chunks[i / kChunk].load(std::memory_order_relaxed);
  if (chunk == nullptr) {
    chunk = static_cast<G*>(os::map(sizeof(G) * kChunk, os::page_size()));
    if (chunk == nullptr) return nullptr;
    if (!own_memory::add(chunk, sizeof(G) * kChunk)) {  // who was a goroutine keeps nothing alive
      os::unmap(chunk, sizeof(G) * kChunk);
      return nullptr;
    }
    chunks[i / kChunk].store(chunk, std::memory_order_relaxed);
  }
  G* const g = ::new (static_cast<void*>(chunk + i % kChunk)) G;
  g->slot = i;
  slots.store(i + 1, std::memory_order_release);  // pairs with the acquire in g_count()
  return g;
}

}  // namespace

G* take_gs(uint32_t n) {
  SpinGuard guard(pool_lock);
  G* first = nullptr;
  for (uint32_t i = 0; i < n; ++i) {
    G* g = pool;
    if (g != nullptr) {
      pool = g->next;
    } else if ((g = make_g()) == nullptr) {
      break;
    }
    g->next = first;
    first = g;
  }
  return first;
}

G* take_g() { return take_gs(1); }

void put_gs(G* first, G* last) {
  SpinGuard guard(pool_lock);
  last->next = pool;
  pool = first;
}

uint32_t g_count() { return slots.load(std::memory_order_acquire); }

G* g_at(uint32_t i) { return chunks[i / kChunk].load(std::memory_order_relaxed) + i % kChunk; }

G* record_of(TaskId id) {
  const auto slot = static_cast<uint32_t>(id);
  if (slot == 0 || slot - 1 >= g_count()) return nullptr;
  return g_at(slot - 1);
}

SpinLock& g_pool_lock() { return pool_lock; }

}  // namespace tri::sched
