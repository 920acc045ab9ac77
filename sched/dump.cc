// dump.cc - See dump.h.
#include "sched/dump.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "sched/proc.h"
#include "sched/stack.h"
#include "sched/switch.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constexpr int kMaxFrames = 32;
// More than our frames between the program's and the switch ever take.
constexpr int kMaxOwnWords = 256;

// Records and stacks are never unmapped, so to read one that has just become somebody else's tells an old or a mixed story, and no worse.
#define TRI_RACY [[gnu::no_sanitize_thread, gnu::no_sanitize_address]]

void print_code(Line& line, uint64_t address) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(address), &info) != 0 && info.dli_sname != nullptr) {
    line.text(info.dli_sname).text("+").hex(address - reinterpret_cast<uint64_t>(info.dli_saddr)).text(" ");
  }
  line.text("[").hex(address).text("]\n");
}

/// The object of the program that the address lies in; null for none.
const void* object_of(uint64_t address) {
  Dl_info info{};
  return dladdr(reinterpret_cast<void*>(address), &info) == 0 ? nullptr : info.dli_fbase;
}

/// Whether the word is an address of code behind a call, in another object than this one. It may be any word at all, so its
/// memory is read by the kernel, which knows what is there.
bool is_call_from_outside(uint64_t word) {
  if (word < 4096 || word >> 47 != 0) return false;
  const void* const object = object_of(word);
  if (object == nullptr || object == object_of(reinterpret_cast<uint64_t>(&dump_tasks))) return false;
  unsigned char code[kCallBytes];
  const iovec to = {code, sizeof code};
  const iovec from = {reinterpret_cast<void*>(word - sizeof code), sizeof code};
  return arch::system_call(SYS_process_vm_readv, sys::process_id(), reinterpret_cast<long>(&to), 1,
                           reinterpret_cast<long>(&from), 1, 0) == long{sizeof code} &&
         ends_in_call(code);
}

/// Where the program called us. Our own frames have no frame pointers, and leave that of the program alone (see
/// tri_goroutine_flags), so its innermost frame begins at `frame`, and the address is the first below it that can be a caller's.
TRI_RACY uint64_t find_caller(const char* sp, const char* frame) {
  const auto* const end = reinterpret_cast<const uint64_t*>(frame);
  for (const auto* word = reinterpret_cast<const uint64_t*>(sp);
       word < end && word - reinterpret_cast<const uint64_t*>(sp) < kMaxOwnWords; ++word) {
    if (is_call_from_outside(*word)) return *word;
  }
  return 0;
}

/// The stack of a goroutine that waits: by the saved frame pointer, as far as the chain goes upward within the stack. Code that is built
/// without frame pointers breaks it off.
TRI_RACY void print_stack(int fd, const G* g) {
  const char* const top = g->stack_top;
  const auto* const sp = static_cast<const char*>(g->sp);
  if (top == nullptr || sp == nullptr || sp >= top || sp < top - g->stack_bytes) return;
  const auto* const saved = reinterpret_cast<const SavedFrame*>(sp);
  uint64_t next = saved->frame_pointer;
  const auto* const frame = reinterpret_cast<const char*>(next);
  uint64_t code = find_caller(sp + sizeof(SavedFrame), frame > sp && frame < top ? frame : top);
  if (code == 0) code = saved->return_address;
  const char* low = sp;
  for (int i = 0; i < kMaxFrames && code != 0; ++i) {
    Line line;
    line.text("    ");
    print_code(line, code);
    line.write_to(fd);
    const auto* const at = reinterpret_cast<const char*>(next);
    if (at <= low || at + 16 > top || (next & 7) != 0) return;
    low = at;
    next = reinterpret_cast<const uint64_t*>(at)[0];
    code = reinterpret_cast<const uint64_t*>(at)[1];
  }
}

TRI_RACY const char* state_of(const G* g, GState state) {
  if (g->kind == GKind::kThread)
    return g->reason.load(std::memory_order_relaxed) == WaitReason::kNone ? "runs" : "waits";
  switch (state) {
    case GState::kRunnable:
      return g->pinned != nullptr ? "preempted" : "runnable";
    case GState::kRunning:
      return g->reason.load(std::memory_order_relaxed) == WaitReason::kBlockingCall ? "blocks" : "runs";
    case GState::kWaiting:
      return "waits";
    case GState::kFree:
      break;
  }
  return "ended";
}

/// The record of a task that is not over; null for others.
TRI_RACY const G* live_record(TaskId id) {
  const G* const g = record_of(id);
  return g != nullptr && g->generation.load(std::memory_order_relaxed) == generation_of(id) &&
                 g->state.load(std::memory_order_acquire) != GState::kFree
             ? g
             : nullptr;
}

/// At most kMaxName characters, and a zero.
TRI_RACY size_t copy_name(const G* g, char* to) {
  size_t n = 0;
  while (n < kMaxName && (to[n] = g->name[n]) != 0) ++n;
  to[n] = 0;
  return n;
}

TRI_RACY void print_g(int fd, const G* g, GState state, Time at) {
  Line line;
  line.text(g->kind == GKind::kThread ? "thread " : "goroutine ").number(uint64_t{g->slot} + 1);
  const uint32_t generation = g->generation.load(std::memory_order_relaxed);
  if (generation != 0) line.text(".").number(uint64_t{generation});
  char name[kMaxName + 1];
  const size_t length = copy_name(g, name);
  if (length != 0) line.text(" \"").text(name, length).text("\"");
  line.text(": ").text(state_of(g, state));
  if (state == GState::kWaiting || g->kind == GKind::kThread) {
    const WaitReason reason = g->reason.load(std::memory_order_relaxed);
    if (reason != WaitReason::kNone) line.text(" for ").text(name_of(reason));
    const Time since = g->since.load(std::memory_order_relaxed);
    if (state == GState::kWaiting && since != 0 && at > since)
      line.text(", ").number((at - since) / 1'000'000).text(" ms");
  }
  if (g->kind == GKind::kGoroutine && g->entry != nullptr) {
    line.text(", entry ");
    print_code(line, reinterpret_cast<uint64_t>(g->entry));
  } else {
    line.text("\n");
  }
  line.write_to(fd);
}

void print_task(int fd, const G* g, GState state, Time at) {
  print_g(fd, g, state, at);
  if (state == GState::kWaiting) print_stack(fd, g);
}

}  // namespace

void dump_task(int fd, TaskId id) {
  if (const G* const g = live_record(id)) print_task(fd, g, g->state.load(std::memory_order_acquire), now());
}

TaskName::TaskName(TaskId id) : text{} {
  if (const G* const g = live_record(id)) copy_name(g, text);
}

const char* waits_for(TaskId id) {
  const G* const g = live_record(id);
  return name_of(g == nullptr ? WaitReason::kNone : g->reason.load(std::memory_order_relaxed));
}

void dump_tasks(int fd) {
  const Time at = now();
  const uint32_t n = g_count();
  uint64_t alive = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const G* const g = g_at(i);
    const GState state = g->state.load(std::memory_order_acquire);
    if (state == GState::kFree) continue;
    ++alive;
    print_task(fd, g, state, at);
  }
  Line line;
  line.text("tri: ").number(alive).text(" tasks, ");
  line.number(uint64_t{sched.procs.load(std::memory_order_relaxed)}).text(" procs, ");
  line.number(uint64_t{busy_procs()})
      .text(" busy, ")
      .number(uint64_t{sched.globq.size()} + sched.pinned.size())
      .text(" in the global queue, ");
  // Not waited for: a report is asked for when something hangs, perhaps with that very lock.
  if (StackStats stacks{}; try_stack_stats(&stacks)) {
    line.number(uint64_t{stacks.pooled}).text(" stacks pooled, ").bytes(stacks.reserved_bytes).text(" reserved\n");
  } else {
    line.text("stacks in use by fork()\n");
  }
  line.write_to(fd);
}

}  // namespace tri::sched
