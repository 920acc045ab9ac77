// symbols.h - The function that an offset in a file belongs to, read from the file when somebody asks.
//
// Not from memory: what is asked for may have been unloaded long since. The file's full table (.symtab), or that of its separate debug file where
// the system has it (/usr/lib/debug/.build-id), else the names that it exports (.dynsym). It is read piece by piece into a small buffer, never
// mapped: a file that shrinks meanwhile must not end the program. Names are as in the file, not demangled.
//
// Opens files and takes milliseconds for large ones: for reports. No locks, no allocation. Uses: modules. Used by: shim.
#ifndef TRI_ALLOC_SYMBOLS_H
#define TRI_ALLOC_SYMBOLS_H

#include <cstddef>
#include <cstdint>

#include "alloc/modules.h"

namespace tri {

struct Symbol {
  static constexpr size_t kMostName = 200;
  char name[kMostName];  // cut if longer; empty: no function is known there
  uint64_t offset;       // from the function's beginning
};

/// False, and no name, if the file is not there any more, is another by now (its build id tells), or knows no function there.
bool find_symbol(const Origin& file, uint64_t offset, Symbol* out);

}  // namespace tri

#endif
