// unwind.cc - See unwind.h.
#include "alloc/unwind.h"

#include "alloc/base/bits.h"
#include "alloc/base/check.h"
#include "alloc/os/os.h"

namespace tri {
namespace {

// What lies further from the stack pointer may be another thread's, and vanish while it is looked at.
constexpr uintptr_t kNear = 1 << 20;
// A frame that a frame pointer leads over is not larger.
constexpr uintptr_t kMostFrame = 256 * 1024;
// An address that is in no module is a reason to look again, but not more often than this: it may be garbage.
constexpr int64_t kLookAgain_ns = 2'000'000;
constexpr uint32_t kFreeLooks = 32;

/// Whatever stands there is not for the sanitizers to judge.
[[gnu::noinline, gnu::no_sanitize("address", "thread")]] uintptr_t load(uintptr_t at) {
  return *reinterpret_cast<const uintptr_t*>(at);
}

}  // namespace

size_t Unwinder::walk(arch::Registers* regs, CodePlace* out, size_t most) {
  const uintptr_t page = ~uintptr_t{4095};  // no kernel has smaller ones
  near_begin_ = regs->r[arch::kStackPointer];
  pages_[0] = near_begin_ & page;
  page_count_ = next_page_ = 1;
  bool exact = true;
  size_t n = 0;
  while (n < most) {
    const uintptr_t pc = exact ? regs->pc : regs->pc - 1;
    const KnownRule& known = rule_for(pc);
    const Module* const module = known.module == 0 ? nullptr : modules_.begin() + known.module - 1;
    if (module == nullptr && n != 0 && known.rule.kind == cfi::FrameRule::kNone) break;  // it was no frame
    out[n++] = module == nullptr ? CodePlace{pc, pc, 0} : CodePlace{pc, pc - module->bias, module->origin};
    const uintptr_t sp = regs->r[arch::kStackPointer];
    exact = false;
    if (!step(known.rule, module, pc, regs, &exact)) break;
    if (regs->pc == 0 || (regs->pc - 1 == pc && regs->r[arch::kStackPointer] == sp)) break;
  }
  return n;
}

const Module* Unwinder::module_of(uintptr_t pc) {
  const Module* m = modules_.find(pc);
  if (m != nullptr) return m;
  const int64_t now = modules_.generation() < kFreeLooks ? INT64_MAX : os::now_ns();
  if (now - looked_at_ns_ < kLookAgain_ns) return nullptr;
  if (modules_.refresh() != 0) return nullptr;
  looked_at_ns_ = os::now_ns();
  return modules_.find(pc);
}

const Unwinder::KnownRule& Unwinder::rule_for(uintptr_t pc) {
  KnownRule& k = rules_[mix(pc) % kRules];
  if (TRI_LIKELY(k.pc == pc && k.generation == modules_.generation() && k.generation != 0)) return k;
  const Module* const m = module_of(pc);
  k.pc = pc;
  k.module = m == nullptr ? uint16_t{0} : static_cast<uint16_t>(m - modules_.begin() + 1);
  // What is not known may be soon.
  k.generation = m == nullptr ? 0 : modules_.generation();
  k.rule = {};
  if (m != nullptr && cfi::find_row(m->unwind, pc, &workspace_)) k.rule = cfi::make_rule(workspace_.row);
  return k;
}

/// Words of the stack. It is the caller's own: nobody takes it away.
bool Unwinder::read(uintptr_t at, uintptr_t* out) {
  if ((at & 7) != 0) return false;
  if (at - near_begin_ >= kNear) return os::read_memory(out, at, sizeof *out);
  const uintptr_t page = at & ~uintptr_t{4095};
  bool known = false;
  for (size_t i = 0; i < page_count_; ++i) known = known || pages_[i] == page;
  if (!known) {
    if (!os::is_readable(page)) return false;
    pages_[next_page_ % kPages] = page;
    next_page_ = next_page_ % kPages + 1;
    if (page_count_ < kPages) ++page_count_;
  }
  *out = load(at);
  return true;
}

bool Unwinder::step(const cfi::FrameRule& rule, const Module* module, uintptr_t pc, arch::Registers* regs,
                    bool* exact) {
  switch (rule.kind) {
    case cfi::FrameRule::kSimple:
      return step_simple(rule, regs);
    case cfi::FrameRule::kProgram:
      return module != nullptr && step_program(*module, pc, regs, exact);
    case cfi::FrameRule::kEnd:
      return false;
    case cfi::FrameRule::kNone:
      break;
  }
  if (arch::step_over_signal(regs, [](uintptr_t at, uintptr_t* to) { return os::read_memory(to, at, sizeof *to); })) {
    *exact = true;
    return true;
  }
  return step_by_frame_pointer(regs);
}

bool Unwinder::step_simple(const cfi::FrameRule& rule, arch::Registers* regs) {
  const uintptr_t cfa = regs->r[rule.cfa_register] + static_cast<uintptr_t>(int64_t{rule.cfa_offset});
  // Without a rule the return address is still in its register, which a call that came between has overwritten: a leaf function's.
  uintptr_t pc = regs->r[arch::kReturnAddress];
  for (unsigned i = 0; i < rule.saved; ++i) {
    uintptr_t word = 0;
    if (!read(cfa + static_cast<uintptr_t>(int64_t{rule.at[i]} * 8), &word)) return false;
    regs->r[rule.reg[i]] = word;
    if (rule.reg[i] == arch::kReturnAddress) pc = word;
  }
  regs->pc = arch::plain_code_address(pc);
  regs->r[arch::kStackPointer] = cfa;
  return true;
}

bool Unwinder::step_program(const Module& module, uintptr_t pc, arch::Registers* regs, bool* exact) {
  using cfi::RegisterRule;
  if (!cfi::find_row(module.unwind, pc, &workspace_)) return false;
  const cfi::Row& row = workspace_.row;
  uintptr_t cfa = 0;
  if (!row.cfa_is_expression) {
    cfa = regs->r[row.cfa_register] + static_cast<uintptr_t>(row.cfa_offset);
  } else if (!cfi::evaluate(row.cfa_expression, *regs, nullptr, &cfa)) {
    return false;
  }
  arch::Registers next = *regs;
  next.r[arch::kStackPointer] = cfa;
  for (unsigned i = 0; i < arch::kRegisters; ++i) {
    const RegisterRule& rule = row.reg[i];
    uintptr_t at = cfa + static_cast<uintptr_t>(rule.offset);
    switch (rule.kind) {
      case RegisterRule::kSame:
      case RegisterRule::kUndefined:
        break;
      case RegisterRule::kAtExpression:
        if (!cfi::evaluate(rule.expression, *regs, &cfa, &at)) return false;
        [[fallthrough]];
      case RegisterRule::kAtOffset:
        if (!read(at, &next.r[i])) return false;
        break;
      case RegisterRule::kIsOffset:
        next.r[i] = at;
        break;
      case RegisterRule::kInRegister:
        if (rule.reg >= arch::kRegisters) return false;
        next.r[i] = regs->r[rule.reg];
        break;
      case RegisterRule::kIsExpression:
        if (!cfi::evaluate(rule.expression, *regs, &cfa, &next.r[i])) return false;
        break;
    }
  }
  next.pc = arch::plain_code_address(next.r[arch::kReturnAddress]);
  *exact = row.is_signal_frame;
  *regs = next;
  return true;
}

/// A frame pointer leads to the caller's, and behind that stands where to return to: by convention on all processors that we know.
bool Unwinder::step_by_frame_pointer(arch::Registers* regs) {
  const uintptr_t fp = regs->r[arch::kFramePointer];
  const uintptr_t sp = regs->r[arch::kStackPointer];
  uintptr_t next = 0;
  uintptr_t pc = 0;
  if (fp < sp || fp - sp > kMostFrame || !read(fp, &next) || !read(fp + 8, &pc)) return false;
  if (next != 0 && next <= fp) return false;
  regs->r[arch::kFramePointer] = next;
  regs->r[arch::kStackPointer] = fp + 16;
  regs->pc = arch::plain_code_address(pc);
  return true;
}

}  // namespace tri
