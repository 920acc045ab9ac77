// modules.h - Which file each address of code comes from, found out without a lock of the dynamic linker's.
//
// dl_iterate_phdr() waits for a thread that is just loading something, and that thread may be waiting for malloc: it cannot be called in there. So
// the picture is made of /proc/self/maps, and of the headers that the files have in memory. Another thread may take a module away at any
// moment: all of it is read by way of the kernel (os::read_memory()), which knows what is still there.
//
// A picture grows old. is_current() tells of one module whether it is still the one that was seen; an address in none is a reason to look
// again. What a module was, its *origin*, is noted for good: reports name modules that have been unloaded long since.
//
// The caller brings the lock. Used by: unwind, sites.
#ifndef TRI_ALLOC_MODULES_H
#define TRI_ALLOC_MODULES_H

#include <cstddef>
#include <cstdint>

#include "alloc/cfi.h"

namespace tri {

/// A file, with the build id that the linker gave it (empty without). Constant once made.
struct Origin {
  static constexpr size_t kMostBuildId = 32;
  const char* path;  // "[vdso]" for the kernel's
  uint8_t build_id[kMostBuildId];
  uint8_t build_id_size;
};

struct Module {
  uintptr_t begin;  // of all of its mappings
  uintptr_t end;
  uintptr_t bias;  // address = address in the file's own terms + bias
  cfi::Table unwind;
  uint64_t device;  // and inode: the same at the same place is the same module
  uint64_t inode;
  uintptr_t check_at;  // of bytes that tell this file from others: its build id, or its header
  uint8_t check_bytes;
  uint8_t check[Origin::kMostBuildId];
  uint16_t origin;  // its number; 0: code that comes from no file, or too many were seen
};

class Modules {
 public:
  /// Makes the picture anew. 0; -ENOMEM, or the errors of opening /proc/self/maps: it is then as it was.
  [[nodiscard]] int refresh();
  /// Null: none, as far as is known.
  const Module* find(uintptr_t address) const;
  /// Whether it is still what it was.
  bool is_current(const Module& m) const;
  /// How many pictures there were.
  uint32_t generation() const { return generation_; }

  const Module* begin() const { return now_; }
  const Module* end() const { return now_ + count_; }

  /// Null for numbers that are none. Any time, without a lock.
  static const Origin* origin(uint16_t number);

 private:
  struct Scratch;
  struct Reading;

  [[nodiscard]] bool make_room(size_t n);
  [[nodiscard]] int read_maps(size_t* count);
  void add(Reading& r, const Module& m);
  void read_headers(Module* m) const;
  uint8_t read_build_id(Module* m, uintptr_t notes, size_t bytes) const;

  Scratch* scratch_ = nullptr;
  Module* now_ = nullptr;   // by address
  Module* next_ = nullptr;  // the picture that is being made
  size_t room_ = 0;
  size_t count_ = 0;
  uint32_t generation_ = 0;
};

}  // namespace tri

#endif
