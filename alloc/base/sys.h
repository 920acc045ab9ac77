// sys.h - The few services of the platform that even the base needs: to sleep, to speak, to know who is calling.
//
// Declared here, at the bottom, and implemented in os/<platform>/, so that nothing in base includes what lies above it.
// None touches errno, allocates or takes a lock.
#ifndef TRI_ALLOC_BASE_SYS_H
#define TRI_ALLOC_BASE_SYS_H

#include <cstddef>
#include <cstdint>

namespace tri::sys {

/// Sleeps while *word == expected, for at most timeout_ns (negative: for ever). May return early.
void futex_wait(const void* word, uint32_t expected, int64_t timeout_ns);
void futex_wake(const void* word, int count);
void yield();

uint32_t thread_id();
/// After fork(): the thread has a new id.
void forget_thread_id();

int process_id();
/// The last component of the program's name; empty before libc has set it.
const char* program_name();
void write_all(int fd, const char* data, size_t length);

}  // namespace tri::sys

#endif
