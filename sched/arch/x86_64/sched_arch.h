// sched_arch.h - What the scheduler must know about x86-64: fences, and how the words of thread_words.h are reached.
//
// By %fs and an offset that is the same in all threads: the compiler may keep that, but not what is read. Each access is one
// instruction, so no signal comes between its halves.
//
// Used by: thread_words, critical.
#ifndef TRI_SCHED_ARCH_H
#define TRI_SCHED_ARCH_H

#include <cstddef>
#include <cstdint>

namespace tri::sched {

/// A fence for all memory, and for nothing but it: faster than mfence, and TSan, which does not know fences, is not asked.
inline void full_fence() { __asm__ volatile("lock orl $0, (%%rsp)" : : : "memory", "cc"); }

[[gnu::always_inline]] inline uintptr_t words_offset() {
  uintptr_t offset;
  __asm__("movq tri_tls@gottpoff(%%rip), %0" : "=r"(offset));
  return offset;
}
/// The same, for use after a switch: what was known before it the compiler would carry over, on the stack.
[[gnu::always_inline]] inline uintptr_t words_offset_anew() {
  uintptr_t offset;
  __asm__ volatile("movq tri_tls@gottpoff(%%rip), %0" : "=r"(offset));
  return offset;
}

template <size_t at>
[[gnu::always_inline]] inline void* read_word() {
  void* word;
  __asm__ volatile("movq %%fs:%c2(%1), %0" : "=r"(word) : "r"(words_offset()), "i"(at));
  return word;
}
template <size_t at>
[[gnu::always_inline]] inline void write_word(void* word) {
  __asm__ volatile("movq %0, %%fs:%c2(%1)" : : "r"(word), "r"(words_offset()), "i"(at) : "memory");
}

// 32 bits. What changes them is an order for the compiler as well: what stands before stays before.
template <size_t at>
[[gnu::always_inline]] inline uint32_t read32(uintptr_t offset) {
  uint32_t word;
  __asm__ volatile("movl %%fs:%c2(%1), %0" : "=r"(word) : "r"(offset), "i"(at));
  return word;
}
template <size_t at>
[[gnu::always_inline]] inline bool is_zero32(uintptr_t offset = words_offset()) {
  bool result;
  __asm__ volatile("cmpl $0, %%fs:%c2(%1)" : "=@ccz"(result) : "r"(offset), "i"(at));
  return result;
}
template <size_t at, uint32_t value>
[[gnu::always_inline]] inline void set32(uintptr_t offset = words_offset()) {
  __asm__ volatile("movl %2, %%fs:%c1(%0)" : : "r"(offset), "i"(at), "i"(value) : "memory");
}
template <size_t at>
[[gnu::always_inline]] inline void increment32() {
  __asm__ volatile("addl $1, %%fs:%c1(%0)" : : "r"(words_offset()), "i"(at) : "memory", "cc");
}
template <size_t at>
[[gnu::always_inline]] inline void decrement32() {
  __asm__ volatile("subl $1, %%fs:%c1(%0)" : : "r"(words_offset()), "i"(at) : "memory", "cc");
}

}  // namespace tri::sched

#endif
