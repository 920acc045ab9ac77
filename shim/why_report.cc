// why_report.cc - See why_report.h.
#include "shim/why_report.h"

#include <dlfcn.h>

#include "alloc/base/print.h"
#include "alloc/os/os.h"
#include "gc/why.h"
#include "sched/critical.h"
#include "sched/dump.h"
#include "sched/g.h"
#include "shim/leaks_report.h"

namespace tri {
namespace {

// Of a longer chain the middle is left out.
constexpr long kMostLines = 64;

/// The goroutine on whose stack the address is; 0: none.
sched::TaskId goroutine_at(uintptr_t at) {
  for (uint32_t i = 0; i < sched::g_count(); ++i) {
    const sched::G* const g = sched::g_at(i);
    const auto top = reinterpret_cast<uintptr_t>(g->stack_top);
    if (g->kind == sched::GKind::kGoroutine && at < top && top - at <= g->stack_bytes) return sched::id_of(g);
  }
  return 0;
}

void say_mapping(Line& line, uintptr_t at) {
  if (const sched::TaskId id = goroutine_at(at); id != 0) {
    line.text("the stack of goroutine ").number(uint64_t{id & UINT32_MAX});
    if (const sched::TaskName name(id); name.text[0] != 0) line.text(" \"").text(name.text).text("\"");
    return;
  }
  char name[256];
  Dl_info info{};
  switch (os::what_is_mapped_at(reinterpret_cast<const void*>(at), name, sizeof name)) {
    case os::Mapping::kFile:
      line.text("the data of ").text(name);
      if (dladdr(reinterpret_cast<const void*>(at), &info) != 0) {
        if (info.dli_sname != nullptr) line.text(" (").text(info.dli_sname).text(")");
        line.text("+").hex(at - reinterpret_cast<uintptr_t>(info.dli_fbase));
      }
      return;
    case os::Mapping::kStack:
      line.text("a stack");
      return;
    case os::Mapping::kBreak:
      line.text("the break area");
      return;
    case os::Mapping::kAnonymous:
    case os::Mapping::kUnknown:
    case os::Mapping::kNone:
      line.text("a mapping of the program's");
      return;
  }
}

void say_root(int fd, const gc::Why::Root& root) {
  Line line;
  line.text("  ");
  switch (root.kind) {
    case gc::Why::RootKind::kRegister:
      line.text("a register of thread ").number(uint64_t{root.thread});
      break;
    case gc::Why::RootKind::kStack:
      line.text("the stack of thread ").number(uint64_t{root.thread});
      break;
    case gc::Why::RootKind::kOwnStack:
      line.text("the stack of the thread that asks");
      break;
    case gc::Why::RootKind::kThreadLocal:
      line.text("thread-local storage of ");
      root.thread == 0 ? line.text("the thread that asks") : line.text("thread ").number(uint64_t{root.thread});
      break;
    case gc::Why::RootKind::kRegistered:
      line.text("a range that was registered");
      break;
    case gc::Why::RootKind::kMapping:
      say_mapping(line, root.at);
      break;
  }
  line.text(", at ").hex(root.at).text("\n").write_to(fd);
}

}  // namespace

int write_why(int fd, const void* p, uintptr_t sp) {
  gc::Why why;
  // As in find_leaks().
  sched::enter_critical();
  const long n = why.find(p, sp);
  sched::leave_critical();
  if (n < 0) return static_cast<int>(n);
  Line line;
  line.text("tri: why ").pointer(p);
  if (n == 0) {
    line.text(": nothing reaches it").in_program().write_to(fd);
    return 0;
  }
  line.text(": ").number(uint64_t(n)).text(n == 1 ? " reference leads" : " references lead").text(" to it");
  line.in_program().write_to(fd);
  say_root(fd, why.root());
  long i = 0;
  why.each_step([&](const gc::Why::Step& s) {
    line.clear();
    const long place = i++;
    if (n > kMostLines && place == kMostLines / 2) {
      line.text("  -> ... ").number(uint64_t(n - kMostLines)).text(" more\n").write_to(fd);
    }
    if (n > kMostLines && place >= kMostLines / 2 && place < n - kMostLines / 2) return;
    line.text("  -> ").hex(s.block).text(" (").bytes(s.bytes).text(")");
    if (s.word != 0) line.text(", its byte ").number(uint64_t{s.word - s.block});
    const auto offset = reinterpret_cast<uintptr_t>(p) - s.block;
    if (s.word == 0 && offset != 0) line.text(", its byte ").number(uint64_t{offset});
    line.text("\n").write_to(fd);
  });
  return n > INT32_MAX ? INT32_MAX : static_cast<int>(n);
}

}  // namespace tri
