// check.h - Assertions and the build's constant switches.
//
// TRI_CHECK guards what a user's mistake or a corrupted heap can break: it is in every build. TRI_ASSERT guards
// what only a bug in this library can break: it is in debug and verifying builds. Both end in one line on fd 2.
//
// Used by: everything.
#ifndef TRI_ALLOC_BASE_CHECK_H
#define TRI_ALLOC_BASE_CHECK_H

#include <cstddef>
#include <cstdint>

namespace tri {

inline constexpr bool kDebug = TRI_DEBUG != 0;    // assertions
inline constexpr bool kVerify = TRI_VERIFY != 0;  // every slow path checks the structures that it touched
inline constexpr bool kChecks = TRI_CHECKS != 0;  // off only to measure what the checks of free() cost

/// Prints "tri: check failed: ..." and aborts. Allocates nothing; any context.
[[noreturn, gnu::cold]] void check_failed(const char* what, const char* file, int line);

}  // namespace tri

#define TRI_CHECK(condition) \
  (__builtin_expect(!!(condition), 1) ? (void)0 : ::tri::check_failed(#condition, __FILE__, __LINE__))

#define TRI_ASSERT(condition)                          \
  do {                                                 \
    if constexpr (::tri::kDebug) TRI_CHECK(condition); \
  } while (false)

// For variables that the fast paths read: -fvisibility=hidden speaks of definitions only, and a declaration without this
// is reached through the global offset table.
#define TRI_INTERNAL [[gnu::visibility("hidden")]]

#define TRI_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define TRI_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
