// sites.cc - See sites.h.
#include "alloc/sites.h"

#include <atomic>
#include <cstring>
#include <new>

#include "alloc/base/bits.h"
#include "alloc/base/check.h"
#include "alloc/os/os.h"
#include "alloc/persistent.h"
#include "alloc/unwind.h"

namespace tri::sites {
namespace {

constexpr size_t kBuckets = 16 * 1024;
constexpr size_t kWords = 2 * 1024 * 1024;  // 16 MiB of addresses: at least 80,000 stacks
// Frames of ours above the program's, that are left out.
constexpr size_t kMostOwnFrames = 12;

// A stack in `words`: the one before it in its bucket and the number of its frames, and then these.
constexpr unsigned kOffsetBits = 48;
uint64_t packed(const CodePlace& p) {
  return uint64_t{p.origin} << kOffsetBits | (p.offset & ((uint64_t{1} << kOffsetBits) - 1));
}

struct Store {
  Unwinder unwinder;
  CodePlace places[kMostFrames + kMostOwnFrames];  // not on the stack, which may be small
  uint64_t frames[kMostFrames];
  uint32_t buckets[kBuckets];
  size_t used;  // words
  size_t count;
  uint64_t lost;
  uint16_t own_origin;  // of the shared library; 0: it is part of the program
  bool knows_itself;
  uint64_t words[kWords];
};

constinit Lock sites_lock{LockRank::kSites};
constinit std::atomic<Store*> store{nullptr};

/// The shared library hides its own frames; where its parts are linked into a program, as in tests, they are the program's.
void find_own_origin(Store& s) {
  s.knows_itself = true;
  const Module* const m = s.unwinder.modules().find(reinterpret_cast<uintptr_t>(&here));
  const Origin* const o = m == nullptr ? nullptr : Modules::origin(m->origin);
  if (o != nullptr && strstr(o->path, "/libtri") != nullptr) s.own_origin = m->origin;
}

/// Whether the files of the frames are still there.
bool are_current(Store& s, size_t n) {
  const Module* last = nullptr;
  for (size_t i = 0; i < n; ++i) {
    const Module* const m = s.unwinder.modules().find(s.places[i].address);
    if (m == last || m == nullptr) continue;
    if (!s.unwinder.modules().is_current(*m)) return false;
    last = m;
  }
  return true;
}

/// The program's frames to s.frames; returns how many.
size_t walk(Store& s, const arch::Registers& from, size_t* walked) {
  arch::Registers regs = from;
  *walked = s.unwinder.walk(&regs, s.places, kMostFrames + kMostOwnFrames);
  if (!s.knows_itself && *walked != 0) find_own_origin(s);
  size_t first = 0;
  while (s.own_origin != 0 && first < *walked && s.places[first].origin == s.own_origin) ++first;
  size_t n = 0;
  while (first + n < *walked && n < kMostFrames) {
    s.frames[n] = packed(s.places[first + n]);
    ++n;
  }
  return n;
}

uint64_t hash_of(const uint64_t* frames, size_t n) {
  uint64_t h = n;
  for (size_t i = 0; i < n; ++i) h = mix(h ^ frames[i]);
  return h;
}

Site look_up(const Store& s, size_t n, uint64_t hash) {
  for (uint32_t at = s.buckets[hash % kBuckets]; at != 0; at = static_cast<uint32_t>(s.words[at] >> 8)) {
    if ((s.words[at] & 0xff) == n && memcmp(&s.words[at + 1], s.frames, n * sizeof(uint64_t)) == 0) return at;
  }
  return 0;
}

Site add(Store& s, size_t n, uint64_t hash) {
  if (s.used + n + 1 > kWords) {
    ++s.lost;
    return 0;
  }
  const auto at = static_cast<uint32_t>(s.used);
  uint32_t& bucket = s.buckets[hash % kBuckets];
  s.words[at] = uint64_t{bucket} << 8 | n;
  memcpy(&s.words[at + 1], s.frames, n * sizeof(uint64_t));
  bucket = at;
  s.used += n + 1;
  ++s.count;
  return at;
}

Site site_at(Store& s, const arch::Registers& from) {
  for (bool again = false;; again = true) {
    size_t walked = 0;
    const size_t n = walk(s, from, &walked);
    if (n == 0) return 0;
    const uint64_t hash = hash_of(s.frames, n);
    if (const Site site = look_up(s, n, hash)) return site;
    if (again || are_current(s, walked) || s.unwinder.modules().refresh() != 0) return add(s, n, hash);
  }
}

}  // namespace

bool prepare() {
  LockGuard guard(sites_lock);
  if (store.load(std::memory_order_relaxed) != nullptr) return true;
  void* const memory = persistent::alloc(sizeof(Store), os::page_size());
  if (memory == nullptr) return false;
  // Fresh from the system, it reads as zero, which is what an empty store is; most of it is never touched.
  auto* const s = static_cast<Store*>(memory);
  s->used = 1;
  store.store(s, std::memory_order_release);
  return true;
}

Site here() {
  Store* const s = store.load(std::memory_order_acquire);
  if (s == nullptr) return 0;
  arch::Registers regs;
  arch::capture(&regs);
  LockGuard guard(sites_lock);
  return site_at(*s, regs);
}

size_t frames(Site site, Frame* out) {
  const Store* const s = store.load(std::memory_order_acquire);
  if (s == nullptr || site == 0) return 0;
  const auto n = static_cast<size_t>(s->words[site] & 0xff);
  for (size_t i = 0; i < n; ++i) {
    const uint64_t word = s->words[site + 1 + i];
    out[i] = {word & ((uint64_t{1} << kOffsetBits) - 1), static_cast<uint16_t>(word >> kOffsetBits)};
  }
  return n;
}

uint64_t lost() {
  const Store* const s = store.load(std::memory_order_acquire);
  return s == nullptr ? 0 : s->lost;
}

size_t count() {
  const Store* const s = store.load(std::memory_order_acquire);
  return s == nullptr ? 0 : s->count;
}

Lock& lock() { return sites_lock; }

}  // namespace tri::sites
