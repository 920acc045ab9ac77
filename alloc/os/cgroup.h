// cgroup.h - The memory that the cgroups of this process allow it.
//
// Version 2 keeps it in memory.max (beyond it processes are killed) and memory.high (beyond it they are slowed down), version 1 in
// memory.limit_in_bytes. A group's ancestors limit it as well, as far as their files can be seen from here. Both versions may be mounted at once;
// the memory controller is then in one of them.
//
// By system calls alone; takes some tens of microseconds. Used by: gc, shim. Implemented in os/linux/.
#ifndef TRI_ALLOC_OS_CGROUP_H
#define TRI_ALLOC_OS_CGROUP_H

#include <cstdint>

namespace tri::os {

/// Bytes, the least of all; UINT64_MAX: none. `root` stands before all paths: "" but in tests.
uint64_t cgroup_memory_limit(const char* root = "");
/// Memory of the machine in bytes; UINT64_MAX if it cannot be told.
uint64_t machine_memory(const char* root = "");

}  // namespace tri::os

#endif
