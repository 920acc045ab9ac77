// sched_arch.h - What the scheduler must know about aarch64: see the one for x86-64.
//
// Here the danger is real and daily: a compiler reads tpidr_el0 once and keeps it in a register across calls. A change takes several
// instructions; a signal between them leaves the words as it found them, but for preempt_pending, which is set and not counted.
//
// Used by: thread_words, critical.
#ifndef TRI_SCHED_ARCH_H
#define TRI_SCHED_ARCH_H

#include <cstddef>
#include <cstdint>

namespace tri::sched {

/// A fence for all memory.
inline void full_fence() { __asm__ volatile("dmb ish" : : : "memory"); }

[[gnu::always_inline]] inline uintptr_t words_offset() {
  uintptr_t offset;
  __asm__("adrp %0, :gottprel:tri_tls\n\tldr %0, [%0, :gottprel_lo12:tri_tls]" : "=r"(offset));
  return offset;
}

/// The same, for use after a switch: what was known before it the compiler would carry over, on the stack.
[[gnu::always_inline]] inline uintptr_t words_offset_anew() {
  uintptr_t offset;
  __asm__ volatile("adrp %0, :gottprel:tri_tls\n\tldr %0, [%0, :gottprel_lo12:tri_tls]" : "=r"(offset));
  return offset;
}

template <size_t at>
[[gnu::always_inline]] inline void* read_word() {
  void* word;
  __asm__ volatile("mrs %0, tpidr_el0\n\tadd %0, %0, %1\n\tldr %0, [%0, %2]"
                   : "=&r"(word)
                   : "r"(words_offset()), "i"(at));
  return word;
}
template <size_t at>
[[gnu::always_inline]] inline void write_word(void* word) {
  uintptr_t base;
  __asm__ volatile("mrs %0, tpidr_el0\n\tadd %0, %0, %2\n\tstr %1, [%0, %3]"
                   : "=&r"(base)
                   : "r"(word), "r"(words_offset()), "i"(at)
                   : "memory");
}

// 32 bits. What changes them is an order for the compiler as well: what stands before stays before.
template <size_t at>
[[gnu::always_inline]] inline uint32_t read32(uintptr_t offset) {
  uintptr_t word;
  __asm__ volatile("mrs %0, tpidr_el0\n\tadd %0, %0, %1\n\tldr %w0, [%0, %2]" : "=&r"(word) : "r"(offset), "i"(at));
  return static_cast<uint32_t>(word);
}
template <size_t at>
[[gnu::always_inline]] inline bool is_zero32(uintptr_t offset = words_offset()) {
  return read32<at>(offset) == 0;
}
template <size_t at, uint32_t value>
[[gnu::always_inline]] inline void set32(uintptr_t offset = words_offset()) {
  uintptr_t base;
  __asm__ volatile("mrs %0, tpidr_el0\n\tadd %0, %0, %2\n\tstr %w1, [%0, %3]"
                   : "=&r"(base)
                   : "r"(value), "r"(offset), "i"(at)
                   : "memory");
}
template <size_t at, int by>
[[gnu::always_inline]] inline void change32() {
  uintptr_t base, word;
  __asm__ volatile("mrs %0, tpidr_el0\n\tadd %0, %0, %2\n\tldr %w1, [%0, %3]\n\tadd %w1, %w1, %w4\n\tstr %w1, [%0, %3]"
                   : "=&r"(base), "=&r"(word)
                   : "r"(words_offset()), "i"(at), "r"(by)
                   : "memory");
}
template <size_t at>
[[gnu::always_inline]] inline void increment32() {
  change32<at, 1>();
}
template <size_t at>
[[gnu::always_inline]] inline void decrement32() {
  change32<at, -1>();
}

}  // namespace tri::sched

#endif
