// cfi.h - What the unwind tables of a module say about one address: how to come from a frame to its caller's.
//
//   .eh_frame_hdr   sorted table: address -> entry (FDE) of its function
//   .eh_frame       FDE: a small program; run up to the address it leaves a rule for the frame's base (CFA) and for each saved register
//
// The format is that of DWARF 4 (section 6.4) with the changes of the LSB's chapter on exception frames. Tables are read by way of the kernel: the
// address may be anything, and the module may be gone. Only those of modules that never go are read as they stand: a new address costs half a dozen
// reads, and a short run of a program has thousands of addresses.
//
// Nearly all rules are of one kind: the CFA is a register and a number, and registers are saved at fixed distances from it. These
// fit into a FrameRule, which can be kept; all else is worked out anew each time (kProgram).
//
// Uses: os. Used by: unwind.
#ifndef TRI_ALLOC_CFI_H
#define TRI_ALLOC_CFI_H

#include <cstddef>
#include <cstdint>

#include "tri_registers.h"

namespace tri::cfi {

/// A DWARF expression, where it stands in the tables: its length first.
struct Expression {
  uintptr_t at;
};

struct RegisterRule {
  enum Kind : uint8_t { kSame, kUndefined, kAtOffset, kIsOffset, kInRegister, kAtExpression, kIsExpression };
  Kind kind;
  union {
    int64_t offset;  // from the CFA
    uint64_t reg;
    Expression expression;
  };
};

/// All that a row of the table says.
struct Row {
  bool cfa_is_expression;
  uint8_t cfa_register;
  int64_t cfa_offset;
  Expression cfa_expression;
  bool is_signal_frame;  // the caller's address is that of an instruction that was not yet done, not behind a call
  RegisterRule reg[arch::kRegisters];
};

/// The same, if it is of the common kind.
struct FrameRule {
  enum Kind : uint8_t {
    kNone,     // the tables do not know the address
    kSimple,   // below
    kProgram,  // find_row() must be asked
    kEnd,      // there is no caller
  };
  static constexpr unsigned kMostSaved = 12;
  Kind kind;
  uint8_t cfa_register;
  uint8_t saved;            // how many
  uint8_t reg[kMostSaved];  // each
  int8_t at[kMostSaved];    // its word, from the CFA downward: CFA + 8 * at
  int32_t cfa_offset;
};

/// Memory that is there for as long as the process, whatever else is unloaded: it needs no asking the kernel. None if it has no length.
struct Lasting {
  uintptr_t begin;
  size_t bytes;
  bool has(uintptr_t at, size_t n) const { return at - begin < bytes && n <= bytes - (at - begin); }
};

/// The sorted table of a module.
struct Table {
  uintptr_t base;   // what its lines are relative to: the beginning of .eh_frame_hdr
  uintptr_t lines;  // 0: there is none
  uint32_t count;
  Lasting lasting;  // around it
};
[[nodiscard]] Table find_table(uintptr_t eh_frame_hdr);

/// Room for what find_row() does, more than a small stack has.
struct Workspace {
  struct Line {
    int32_t function;
    int32_t entry;
  };
  static constexpr size_t kLines = 256;
  Line lines[kLines];
  static constexpr size_t kMostRemembered = 6;
  Row row;  // the result
  Row initial;
  Row remembered[kMostRemembered];
};

/// The row for `address`, to w->row. False if the table does not know it, or leads to what we do not understand.
[[nodiscard]] bool find_row(const Table& table, uintptr_t address, Workspace* w);
FrameRule make_rule(const Row& row);

/// The value of an expression, for a frame with these registers; `push` is on its stack first if it is not null. False if it does what
/// none of these tables does, or reads what is not there.
[[nodiscard]] bool evaluate(const Expression& e, const arch::Registers& regs, const uintptr_t* push, uintptr_t* out);

}  // namespace tri::cfi

#endif
