# Flags, as interface targets:
#   tri_config         include root, switches, sanitizers: everything in this tree
#   tri_warnings       what counts as an error: everything of ours, tests and benchmarks as they wish
#   tri_library_flags  how code that becomes part of libtri.so is compiled
#   tri_goroutine_flags  and what of it stands between a goroutine and its switch
add_library(tri_config INTERFACE)
target_include_directories(tri_config INTERFACE ${PROJECT_SOURCE_DIR})
# Always 0 or 1, for `if constexpr`: a switch that is sometimes undefined hides a misspelt name.
target_compile_definitions(tri_config INTERFACE
  TRI_CHECKS=$<BOOL:${TRI_CHECKS}> TRI_DEBUG=$<BOOL:${TRI_DEBUG}> TRI_VERIFY=$<BOOL:${TRI_VERIFY}>)
if(TRI_SANITIZE)
  set(sanitize -fsanitize=${TRI_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(tri_config INTERFACE ${sanitize})
  target_link_options(tri_config INTERFACE ${sanitize})
endif()

add_library(tri_warnings INTERFACE)
target_compile_options(tri_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wconversion;-Wundef;-Wshadow;-Werror>)

add_library(tri_library_flags INTERFACE)
target_link_libraries(tri_library_flags INTERFACE tri_warnings)
target_compile_options(tri_library_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
  # The library needs libc alone; unwind tables stay, so that the host's exceptions and profilers pass through us.
  -fno-exceptions -fno-rtti
  # No function-local statics that would need a lock, hence no guard and no call into a C++ runtime.
  -fno-threadsafe-statics
  # Only the version script's names leave the library, and calls between our own functions need no indirection.
  -fvisibility=hidden -fvisibility-inlines-hidden -fno-semantic-interposition -fno-plt
  # Thread-local data one instruction away: the general model calls __tls_get_addr, which may itself call malloc.
  -ftls-model=initial-exec
  # Else calloc, written as malloc and memset, is "recognised" and compiled into a call of calloc.
  -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free -fno-builtin-memalign
  -fno-builtin-aligned_alloc -fno-builtin-posix_memalign -fno-builtin-valloc
  # Canaries and landing pads cost instructions on a path of about a dozen.
  -fno-stack-protector $<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-fcf-protection=none>>)

# The register of the frame pointer stays the program's, so that the stack of a goroutine that waits can be walked from where it
# switched away (sched/dump.cc). Clang knows no such option; frames of our own instead cost 5 % of a switch.
add_library(tri_goroutine_flags INTERFACE)
target_compile_options(tri_goroutine_flags INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:$<IF:$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>,-ffixed-rbp,-fno-omit-frame-pointer>>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-fno-omit-frame-pointer>
  # The switch is a call that the compiler does not know of.
  $<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-mno-red-zone>)
