// fiber.h - What sanitizers must be told of stacks. In other builds nothing.
//
// TSan keeps a clock for each stack, and is told of every switch; ASan must know the bounds of the stack that runs.
//
// Used by: proc.
#ifndef TRI_SCHED_FIBER_H
#define TRI_SCHED_FIBER_H

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define TRI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TRI_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TRI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TRI_ASAN 1
#endif
#endif

extern "C" {
#ifdef TRI_TSAN
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
#endif
#ifdef TRI_ASAN
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
void __asan_unpoison_memory_region(const volatile void* p, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom_old, size_t* size_old);
#endif
}

namespace tri::sched::fiber {

#if defined(TRI_TSAN) || defined(TRI_ASAN)
/// Frames are larger under them, and TSan keeps more than half a MiB of its own at the end of each thread's stack.
inline constexpr size_t kStackFactor = 8;
#else
inline constexpr size_t kStackFactor = 1;
#endif

#ifdef TRI_TSAN
inline constexpr bool kRacesAreReported = true;
inline void* create() { return __tsan_create_fiber(0); }
inline void* current() { return __tsan_get_current_fiber(); }
inline void destroy(void* f) { __tsan_destroy_fiber(f); }
inline void before(void*, void** fake, const void*, size_t) { *fake = nullptr; }
inline void at_switch(void* f) { __tsan_switch_to_fiber(f, 0); }
inline void after(void*) {}
#else
inline constexpr bool kRacesAreReported = false;
inline void* create() { return nullptr; }
inline void* current() { return nullptr; }
inline void destroy(void*) {}
inline void at_switch(void*) {}
#ifdef TRI_ASAN
/// `gone`: this stack is never run again.
inline void before(void* gone, void** fake, const void* low, size_t bytes) {
  __sanitizer_start_switch_fiber(gone != nullptr ? nullptr : fake, low, bytes);
}
inline void after(void* fake) { __sanitizer_finish_switch_fiber(fake, nullptr, nullptr); }
#else
inline void before(void*, void**, const void*, size_t) {}
inline void after(void*) {}
#endif
#endif

/// A stack is free: frames that were left without returning have marked it.
inline void clean([[maybe_unused]] const void* low, [[maybe_unused]] size_t bytes) {
#ifdef TRI_ASAN
  __asan_unpoison_memory_region(low, bytes);
#endif
}

}  // namespace tri::sched::fiber

#endif
