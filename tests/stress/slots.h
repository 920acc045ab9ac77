// slots.h - The shared table of blocks that the threads of a stress run fill, exchange and check.
//
// A block's content is a function of its address, its size and the number of the run, written when it is allocated and
// verified before each free and realloc, whoever does it. Two owners of one block, a wrong copy or a lost write
// show up as a difference.
//
//   slot = {block, size}; a thread that takes a slot's block owns it alone: the exchange is one atomic word
//
// Used by: stress.cc, fork_storm.cc.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace stress {

[[noreturn]] inline void fail(const char* what, const void* block, size_t size, size_t at = 0) {
  char text[256];
  int n =
      snprintf(text, sizeof text, "stress: %s: block %p of %zu bytes, at byte %zu, process %d\n",
               what, block, size, at, static_cast<int>(getpid()));
  if (write(2, text, static_cast<size_t>(n)) < 0) _exit(3);
  abort();
}

// xorshift64*: one per thread, derived from the seed of the run.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u | 1) {}
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du;
  }
  size_t below(size_t bound) { return static_cast<size_t>((next() >> 11) % bound); }
  bool one_in(size_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

// The word at `index` of a block. The size is part of it, so that a block cut or moved by realloc must be written anew.
inline uint64_t word_of(const void* block, size_t size, size_t index) {
  return (reinterpret_cast<uintptr_t>(block) ^ size * 0x9E3779B97F4A7C15u) +
         index * 0xD1B54A32D192ED03u;
}

// Large blocks are written and checked at their ends and once a page: the kernel's zero pages are seen, too.
inline size_t stride_of(size_t size) { return size <= 32768 ? 1 : 512; }

template <class Visit>
void each_word(size_t size, Visit visit) {
  size_t words = size / 8;
  size_t stride = stride_of(size);
  for (size_t i = 0; i < words; i += stride) visit(i);
  if (words > 1 && stride > 1) visit(words - 1);
}

inline void write_pattern(void* block, size_t size) {
  auto* bytes = static_cast<char*>(block);
  each_word(size, [&](size_t i) {
    uint64_t w = word_of(block, size, i);
    memcpy(bytes + i * 8, &w, 8);
  });
  for (size_t at = size / 8 * 8; at < size; ++at) bytes[at] = static_cast<char>(size + at);
}

// `from` and `size` tell under which address and size the pattern was written; at most `limit` bytes are compared.
inline void check_pattern(const void* block, const void* from, size_t size, size_t limit,
                          const char* when) {
  auto* bytes = static_cast<const char*>(block);
  each_word(size, [&](size_t i) {
    if (i * 8 + 8 > limit) return;
    uint64_t w;
    memcpy(&w, bytes + i * 8, 8);
    if (w != word_of(from, size, i)) fail(when, block, size, i * 8);
  });
  for (size_t at = size / 8 * 8; at < size && at < limit; ++at)
    if (bytes[at] != static_cast<char>(size + at)) fail(when, block, size, at);
}

inline void check_zero(const void* block, size_t size) {
  auto* bytes = static_cast<const char*>(block);
  if (size != 0 && (bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0))
    fail("calloc gave dirty memory", block, size);
}

struct Block {
  void* p = nullptr;
  size_t size = 0;
};

// Address and size in one word: 48 bits of address are 44 without the alignment, and sizes are kept by code, so that an
// exchange of a block between threads is a single atomic operation without a lock around malloc's users.
class Slot {
 public:
  Block exchange(Block b) { return unpack(word_.exchange(pack(b), std::memory_order_acq_rel)); }
  Block peek() const { return unpack(word_.load(std::memory_order_acquire)); }

 private:
  // Sizes up to 2^20 need 20 bits, addresses without their lowest four bits 43 (user space ends at 2^47).
  static uint64_t pack(Block b) { return reinterpret_cast<uintptr_t>(b.p) >> 4 << 20 | b.size; }
  static Block unpack(uint64_t w) {
    return {reinterpret_cast<void*>(w >> 20 << 4), w & ((1u << 20) - 1)};
  }
  std::atomic<uint64_t> word_{0};
};

constexpr size_t kMaxSlotSize = (1u << 20) - 1;

}  // namespace stress
