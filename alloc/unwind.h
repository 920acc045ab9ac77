// unwind.h - The calls that lead to where a thread is just now, found out within malloc.
//
// Neither libgcc's unwinder nor backtrace() may run there: they allocate, and they wait for the dynamic linker's lock. So this one reads the unwind
// tables itself (cfi.h), of modules that it finds itself (modules.h). What the tables do not know - code made at run time, old assembly - is
// passed by frame pointers where they look like such.
//
//   pc -> rule     one probe of a table of rules by address, nearly always; else the module, its tables, and a dozen system calls
//   rule -> caller the stack pointer, and the registers that calls preserve
//
// Nothing is trusted: a page of the stack is read once the kernel says that it is there, and everything else through the kernel.
// Any stack will do: of threads, goroutines, signal handlers, coroutines; a walk goes on where the tables say so.
//
// The caller brings the lock. Uses: cfi, modules. Used by: sites.
#ifndef TRI_ALLOC_UNWIND_H
#define TRI_ALLOC_UNWIND_H

#include <cstddef>
#include <cstdint>

#include "alloc/cfi.h"
#include "alloc/modules.h"
#include "tri_registers.h"

namespace tri {

/// A place in the program. Addresses are those of the call, not of where it returns to, which may be in the next function.
struct CodePlace {
  uintptr_t address;
  uintptr_t offset;  // the address in the file's own terms, where `origin` is known
  uint16_t origin;   // see modules.h
};

class Unwinder {
 public:
  /// Zeroed memory is one.
  Unwinder() = default;

  /// Writes the places of at most `most` frames, the innermost first, to `out`; returns how many. The registers are those of a frame that
  /// is still there; they are changed.
  size_t walk(arch::Registers* regs, CodePlace* out, size_t most);

  Modules& modules() { return modules_; }

 private:
  static constexpr size_t kRules = 4096;  // 192 KiB, of which a program touches what it has call sites for
  static constexpr size_t kPages = 8;

  struct KnownRule {
    uintptr_t pc;
    uint32_t generation;  // of the modules; 0: none
    uint16_t module;      // its place in the picture, from 1; 0: none
    cfi::FrameRule rule;
  };

  const KnownRule& rule_for(uintptr_t pc);
  const Module* module_of(uintptr_t pc);
  bool step(const cfi::FrameRule& rule, const Module* module, uintptr_t pc, arch::Registers* regs, bool* exact);
  bool step_simple(const cfi::FrameRule& rule, arch::Registers* regs);
  bool step_program(const Module& module, uintptr_t pc, arch::Registers* regs, bool* exact);
  bool step_by_frame_pointer(arch::Registers* regs);
  bool read(uintptr_t at, uintptr_t* out);

  Modules modules_;
  cfi::Workspace workspace_;
  int64_t looked_at_ns_ = 0;
  // Of the stack that is walked: its pages that are there.
  uintptr_t pages_[kPages];
  size_t page_count_ = 0;
  size_t next_page_ = 0;
  uintptr_t near_begin_ = 0;
  KnownRule rules_[kRules];
};

}  // namespace tri

#endif
