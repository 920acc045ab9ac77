// cfi.cc - Finding the entry of an address, and running its program up to it. See cfi.h.
#include "alloc/cfi.h"

#include "alloc/cfi_reader.h"

namespace tri::cfi {
namespace {

struct Entry {
  Lasting lasting;  // of its table
  uintptr_t begin;  // of its function
  uintptr_t end;
  uint64_t code_alignment;
  int64_t data_alignment;
  uint8_t pointer_encoding;
  bool is_signal_frame;
  uintptr_t start_program;  // what all functions of its kind begin with
  uintptr_t start_program_end;
  uintptr_t program;
  uintptr_t program_end;
};

/// The entry whose function begins last before `address`; 0: none. Functions lie about evenly in a file, so that a guess by proportion
/// is near, and a piece of the table around it has the line, as a rule: each look is a system call.
uintptr_t search(const Table& t, uintptr_t address, Workspace* w) {
  using Line = Workspace::Line;
  const auto wanted = static_cast<int64_t>(address - t.base);
  uint64_t low = 0;  // the line is in [low, high), if it is at all
  uint64_t high = t.count;
  int64_t low_function = INT64_MIN;
  int64_t high_function = INT64_MAX;
  while (low < high) {
    uint64_t first = low;
    uint64_t n = high - low;
    if (n > Workspace::kLines) {
      n = Workspace::kLines;
      uint64_t guess = (low + high) / 2;
      if (low_function != INT64_MIN && high_function != INT64_MAX) {
        guess = low + static_cast<uint64_t>(wanted - low_function) * (high - low) /
                          static_cast<uint64_t>(high_function - low_function);
      }
      first = guess < low + n / 2 ? low : guess + n / 2 > high ? high - n : guess - n / 2;
    }
    if (!read_tables(t.lasting, w->lines, t.lines + first * sizeof(Line), n * sizeof(Line))) return 0;
    if (wanted < w->lines[0].function) {
      if (first == 0) return 0;
      high = first;
      high_function = w->lines[0].function;
    } else if (first + n < high && wanted >= w->lines[n - 1].function) {
      low = first + n - 1;
      low_function = w->lines[n - 1].function;
    } else {
      size_t i = 0;
      for (size_t step = Workspace::kLines / 2; step != 0; step /= 2) {
        if (i + step < n && w->lines[i + step].function <= wanted) i += step;
      }
      return t.base + static_cast<uintptr_t>(int64_t{w->lines[i].entry});
    }
  }
  return 0;
}

/// The length that an entry begins with; its end to *end.
bool read_length(Reader& r, uintptr_t* end) {
  uint64_t length = r.fixed<uint32_t>();
  if (length == UINT32_MAX) length = r.fixed<uint64_t>();
  *end = r.at() + length;
  return r.ok() && length != 0 && length < kMostEntryBytes;
}

bool read_common(uintptr_t at, Entry* out) {
  Reader r(at, at + 128, out->lasting);  // until the length is known
  uintptr_t end = 0;
  if (!read_length(r, &end)) return false;
  r.set_end(end);
  if (r.fixed<uint32_t>() != 0) return false;  // 0: common to several entries
  const uint8_t version = r.byte();
  if (version != 1 && version != 3) return false;
  char augmentation[8] = {};
  for (char& c : augmentation) {
    c = static_cast<char>(r.byte());
    if (c == 0) break;
  }
  if (augmentation[sizeof augmentation - 1] != 0) return false;
  out->code_alignment = r.uleb();
  out->data_alignment = r.sleb();
  const uint64_t return_register = version == 1 ? r.byte() : r.uleb();
  if (return_register != arch::kReturnAddress) return false;
  out->pointer_encoding = kPeAbsolute;
  out->is_signal_frame = false;
  if (augmentation[0] == 'z') {
    const uint64_t bytes = r.uleb();
    const uintptr_t after = r.at() + bytes;
    for (const char* c = augmentation + 1; *c != 0; ++c) {
      if (*c == 'R') {
        out->pointer_encoding = r.byte();
      } else if (*c == 'P') {
        const uint8_t encoding = r.byte();
        (void)r.pointer(encoding, 0);
      } else if (*c == 'L') {
        (void)r.byte();
      } else if (*c == 'S') {
        out->is_signal_frame = true;
      } else if (*c != 'B') {  // B: return addresses are signed with the other key
        return false;
      }
    }
    out->start_program = after;
  } else if (augmentation[0] == 0) {
    out->start_program = r.at();
  } else {
    return false;
  }
  out->start_program_end = end;
  return r.ok() && out->start_program <= end;
}

bool read_entry(uintptr_t at, Entry* out) {
  Reader r(at, at + 128, out->lasting);  // until the length is known
  uintptr_t end = 0;
  if (!read_length(r, &end)) return false;
  r.set_end(end);
  const uintptr_t here = r.at();
  const uint64_t back = r.fixed<uint32_t>();
  if (back == 0 || !read_common(here - back, out)) return false;
  out->begin = r.pointer(out->pointer_encoding, 0);
  out->end = out->begin + r.pointer(out->pointer_encoding & kPeFormat, 0);
  // All that we know of have the augmentation 'z'; without it nothing stands here.
  const uint64_t augmentation_bytes = out->start_program_end != 0 ? r.uleb() : 0;
  r.skip(augmentation_bytes);
  out->program = r.at();
  out->program_end = end;
  return r.ok();
}

struct Machine {
  const Entry& entry;
  uintptr_t address;  // of the row that is wanted
  Workspace& w;
  uintptr_t location = 0;
  size_t depth = 0;

  bool set(uint64_t reg, RegisterRule::Kind kind, int64_t offset) {
    if (reg >= arch::kRegisters) return true;  // vector registers
    RegisterRule& rule = w.row.reg[reg];
    rule.kind = kind;
    rule.offset = offset;
    return true;
  }
  bool set_expression(uint64_t reg, RegisterRule::Kind kind, Reader& r) {
    const Expression e{r.at()};
    r.skip(r.uleb());
    if (reg >= arch::kRegisters) return true;
    w.row.reg[reg].kind = kind;
    w.row.reg[reg].expression = e;
    return true;
  }
  void cfa(uint64_t reg, int64_t offset) {
    w.row.cfa_is_expression = false;
    w.row.cfa_register = static_cast<uint8_t>(reg < arch::kRegisters ? reg : UINT8_MAX);
    w.row.cfa_offset = offset;
  }
  bool advance(uint64_t units) {
    location += units * entry.code_alignment;
    return location <= address;
  }

  /// Runs [from, to) until the row is complete. False if there is something in it that we do not know.
  bool run(uintptr_t from, uintptr_t to) {
    Reader r(from, to, entry.lasting);
    while (!r.done()) {
      const uint8_t op = r.byte();
      const uint64_t low = op & 0x3f;
      switch (op & 0xc0) {
        case 0x40:  // advance_loc
          if (!advance(low)) return r.ok();
          continue;
        case 0x80:  // offset
          set(low, RegisterRule::kAtOffset, static_cast<int64_t>(r.uleb()) * entry.data_alignment);
          continue;
        case 0xc0:  // restore
          if (low < arch::kRegisters) w.row.reg[low] = w.initial.reg[low];
          continue;
        default:
          break;
      }
      bool go_on = true;
      if (!extended(op, r, &go_on)) return false;
      if (!go_on) return r.ok();
    }
    return r.ok();
  }

  bool extended(uint8_t op, Reader& r, bool* go_on) {
    switch (op) {
      case 0x00:  // nop
        return true;
      case 0x01:  // set_loc
        location = r.pointer(entry.pointer_encoding, 0);
        *go_on = location <= address;
        return true;
      case 0x02:  // advance_loc1, 2, 4
        *go_on = advance(r.byte());
        return true;
      case 0x03:
        *go_on = advance(r.fixed<uint16_t>());
        return true;
      case 0x04:
        *go_on = advance(r.fixed<uint32_t>());
        return true;
      case 0x05: {  // offset_extended
        const uint64_t reg = r.uleb();
        return set(reg, RegisterRule::kAtOffset, static_cast<int64_t>(r.uleb()) * entry.data_alignment);
      }
      case 0x06: {  // restore_extended
        const uint64_t reg = r.uleb();
        if (reg < arch::kRegisters) w.row.reg[reg] = w.initial.reg[reg];
        return true;
      }
      case 0x07:  // undefined
        return set(r.uleb(), RegisterRule::kUndefined, 0);
      case 0x08:  // same_value
        return set(r.uleb(), RegisterRule::kSame, 0);
      case 0x09: {  // register
        const uint64_t reg = r.uleb();
        return set(reg, RegisterRule::kInRegister, static_cast<int64_t>(r.uleb()));
      }
      case 0x0a:  // remember_state
        if (depth == Workspace::kMostRemembered) return false;
        w.remembered[depth++] = w.row;
        return true;
      case 0x0b:  // restore_state
        if (depth == 0) return false;
        w.row = w.remembered[--depth];
        return true;
      case 0x0c: {  // def_cfa
        const uint64_t reg = r.uleb();
        cfa(reg, static_cast<int64_t>(r.uleb()));
        return true;
      }
      case 0x0d:  // def_cfa_register
        cfa(r.uleb(), w.row.cfa_offset);
        return true;
      case 0x0e:  // def_cfa_offset
        w.row.cfa_offset = static_cast<int64_t>(r.uleb());
        return true;
      case 0x0f: {  // def_cfa_expression
        w.row.cfa_is_expression = true;
        w.row.cfa_expression = {r.at()};
        r.skip(r.uleb());
        return true;
      }
      case 0x10:  // expression
        return set_expression(r.uleb(), RegisterRule::kAtExpression, r);
      case 0x11: {  // offset_extended_sf
        const uint64_t reg = r.uleb();
        return set(reg, RegisterRule::kAtOffset, r.sleb() * entry.data_alignment);
      }
      case 0x12: {  // def_cfa_sf
        const uint64_t reg = r.uleb();
        cfa(reg, r.sleb() * entry.data_alignment);
        return true;
      }
      case 0x13:  // def_cfa_offset_sf
        w.row.cfa_offset = r.sleb() * entry.data_alignment;
        return true;
      case 0x14: {  // val_offset
        const uint64_t reg = r.uleb();
        return set(reg, RegisterRule::kIsOffset, static_cast<int64_t>(r.uleb()) * entry.data_alignment);
      }
      case 0x15: {  // val_offset_sf
        const uint64_t reg = r.uleb();
        return set(reg, RegisterRule::kIsOffset, r.sleb() * entry.data_alignment);
      }
      case 0x16:  // val_expression
        return set_expression(r.uleb(), RegisterRule::kIsExpression, r);
      case 0x2d:  // aarch64: from here on the return address is signed, or no longer; plain_code_address() sees to it
        return true;
      case 0x2e:  // GNU_args_size
        (void)r.uleb();
        return true;
      case 0x2f: {  // GNU_negative_offset_extended
        const uint64_t reg = r.uleb();
        return set(reg, RegisterRule::kAtOffset, -static_cast<int64_t>(r.uleb()) * entry.data_alignment);
      }
      default:
        return false;
    }
  }
};

}  // namespace

Table find_table(uintptr_t eh_frame_hdr) {
  // version, encodings of: pointer to .eh_frame, count, table
  Reader r(eh_frame_hdr, eh_frame_hdr + 64);
  const uint8_t version = r.byte();
  const uint8_t frame_encoding = r.byte();
  const uint8_t count_encoding = r.byte();
  const uint8_t table_encoding = r.byte();
  if (version != 1 || count_encoding == kPeOmit || table_encoding != (kPeToTable | kPeS4)) return {};
  (void)r.pointer(frame_encoding, eh_frame_hdr);
  const uint64_t count = r.pointer(count_encoding, eh_frame_hdr);
  if (!r.ok() || count == 0 || count > UINT32_MAX) return {};
  return {eh_frame_hdr, r.at(), static_cast<uint32_t>(count), {}};
}

bool find_row(const Table& table, uintptr_t address, Workspace* w) {
  if (table.lines == 0) return false;
  const uintptr_t at = search(table, address, w);
  Entry entry = {};
  entry.lasting = table.lasting;
  if (at == 0 || !read_entry(at, &entry) || address < entry.begin || address >= entry.end) return false;
  w->row = {};
  w->row.is_signal_frame = entry.is_signal_frame;
  w->row.cfa_register = UINT8_MAX;
  Machine machine{entry, address, *w};
  if (!machine.run(entry.start_program, entry.start_program_end)) return false;
  machine.location = entry.begin;
  w->initial = w->row;
  return machine.run(entry.program, entry.program_end) &&
         (w->row.cfa_is_expression || w->row.cfa_register != UINT8_MAX);
}

FrameRule make_rule(const Row& row) {
  FrameRule rule = {};
  const RegisterRule& ra = row.reg[arch::kReturnAddress];
  rule.kind = ra.kind == RegisterRule::kUndefined ? FrameRule::kEnd : FrameRule::kProgram;
  if (rule.kind == FrameRule::kEnd || row.cfa_is_expression || row.is_signal_frame ||
      row.cfa_offset != static_cast<int32_t>(row.cfa_offset)) {
    return rule;
  }
  rule.cfa_register = row.cfa_register;
  rule.cfa_offset = static_cast<int32_t>(row.cfa_offset);
  for (unsigned i = 0; i < arch::kRegisters; ++i) {
    const RegisterRule& r = row.reg[i];
    if (r.kind == RegisterRule::kSame || r.kind == RegisterRule::kUndefined) continue;
    const int64_t words = r.offset / 8;
    if (r.kind != RegisterRule::kAtOffset || r.offset % 8 != 0 || words != static_cast<int8_t>(words) ||
        rule.saved == FrameRule::kMostSaved) {
      return rule;
    }
    rule.reg[rule.saved] = static_cast<uint8_t>(i);
    rule.at[rule.saved++] = static_cast<int8_t>(words);
  }
  rule.kind = FrameRule::kSimple;
  return rule;
}

}  // namespace tri::cfi
