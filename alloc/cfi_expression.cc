// cfi_expression.cc - Expressions in unwind tables (DWARF 4, section 2.5): a machine with a small stack, and no jumps. See cfi.h.
#include "alloc/cfi.h"
#include "alloc/cfi_reader.h"

namespace tri::cfi {

bool evaluate(const Expression& e, const arch::Registers& regs, const uintptr_t* push, uintptr_t* out) {
  constexpr size_t kDepth = 16;
  uintptr_t stack[kDepth];
  size_t n = 0;
  if (push != nullptr) stack[n++] = *push;
  Reader r(e.at, e.at + kMostEntryBytes);
  const uint64_t bytes = r.uleb();
  r.set_end(r.at() + bytes);
  // An expression without jumps ends.
  while (!r.done()) {
    const uint8_t op = r.byte();
    uintptr_t value = 0;
    if (op >= 0x30 && op <= 0x4f) {  // lit0 to lit31
      value = op - 0x30U;
    } else if (op >= 0x70 && op <= 0x8f) {  // breg0 to breg31
      const unsigned reg = op - 0x70U;
      if (reg >= arch::kRegisters) return false;
      // Unwinders let the column of the return address stand for where the frame is.
      value = (reg == arch::kReturnAddress && arch::kReturnAddress != 30 ? regs.pc : regs.r[reg]) +
              static_cast<uintptr_t>(r.sleb());
    } else {
      bool is_constant = true;
      switch (op) {
        case 0x03:  // addr
        case 0x0e:  // const8u, s
        case 0x0f:
          value = r.fixed<uint64_t>();
          break;
        case 0x08:
          value = r.byte();
          break;
        case 0x09:
          value = static_cast<uintptr_t>(int64_t{r.fixed<int8_t>()});
          break;
        case 0x0a:
          value = r.fixed<uint16_t>();
          break;
        case 0x0b:
          value = static_cast<uintptr_t>(int64_t{r.fixed<int16_t>()});
          break;
        case 0x0c:
          value = r.fixed<uint32_t>();
          break;
        case 0x0d:
          value = static_cast<uintptr_t>(int64_t{r.fixed<int32_t>()});
          break;
        case 0x10:
          value = r.uleb();
          break;
        case 0x11:
          value = static_cast<uintptr_t>(r.sleb());
          break;
        default:
          is_constant = false;
      }
      if (!is_constant) {
        if (op == 0x96) continue;  // nop
        if (n == 0) return false;
        uintptr_t& top = stack[n - 1];
        switch (op) {
          case 0x06:  // deref
            if (!os::read_memory(&top, top, sizeof top)) return false;
            continue;
          case 0x12:  // dup
            value = top;
            break;
          case 0x13:  // drop
            --n;
            continue;
          case 0x1f:  // neg
            top = -top;
            continue;
          case 0x20:  // not
            top = ~top;
            continue;
          case 0x23:  // plus_uconst
            top += r.uleb();
            continue;
          default: {
            if (n < 2) return false;
            uintptr_t& a = stack[n - 2];
            const uintptr_t b = top;
            const auto sa = static_cast<int64_t>(a);
            const auto sb = static_cast<int64_t>(b);
            switch (op) {
              case 0x14:  // over
                value = a;
                break;
              case 0x16:  // swap
                top = a;
                a = b;
                continue;
              case 0x1a:
                a &= b;
                --n;
                continue;
              case 0x1c:
                a -= b;
                --n;
                continue;
              case 0x1e:
                a *= b;
                --n;
                continue;
              case 0x21:
                a |= b;
                --n;
                continue;
              case 0x22:
                a += b;
                --n;
                continue;
              case 0x24:
                a = b < 64 ? a << b : 0;
                --n;
                continue;
              case 0x25:
                a = b < 64 ? a >> b : 0;
                --n;
                continue;
              case 0x27:
                a ^= b;
                --n;
                continue;
              case 0x29:  // eq ge gt le lt ne
                a = sa == sb;
                --n;
                continue;
              case 0x2a:
                a = sa >= sb;
                --n;
                continue;
              case 0x2b:
                a = sa > sb;
                --n;
                continue;
              case 0x2c:
                a = sa <= sb;
                --n;
                continue;
              case 0x2d:
                a = sa < sb;
                --n;
                continue;
              case 0x2e:
                a = sa != sb;
                --n;
                continue;
              default:
                return false;
            }
          }
        }
      }
    }
    if (n == kDepth) return false;
    stack[n++] = value;
  }
  if (!r.ok() || n == 0) return false;
  *out = stack[n - 1];
  return true;
}

}  // namespace tri::cfi
