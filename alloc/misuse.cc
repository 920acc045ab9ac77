// misuse.cc - See misuse.h.
#include "alloc/misuse.h"

#include <atomic>
#include <cstdlib>

#include "alloc/arena.h"
#include "alloc/base/print.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"

namespace tri {
namespace misuse {
namespace {

constinit std::atomic<bool> checks_enabled{true};
constinit std::atomic<bool> foreign_reported{false};
using Probe = bool (*)();
constinit Probe next_allocator_probe = nullptr;

const char* of(Operation operation) { return operation == Operation::kFree ? "free of " : "realloc of "; }

Line& class_of(Line& line, const Span* s) {
  if (s->size == 0) return line.text(" (large block)");
  return line.text(" (size class ").number(uint64_t{s->size}).text(")");
}

void finish(Line& line) {
  line.in_program().write_to(2);
  abort();
}

bool say_freed(const void* p, size_t size, Operation operation) {
  Line line;
  line.text(operation == Operation::kFree ? "tri: double free of " : "tri: realloc of freed block ").pointer(p);
  if (size == 0) {
    line.text(" (large block)");
  } else {
    line.text(" (size class ").number(uint64_t{size}).text(")");
  }
  finish(line);
  return false;
}

}  // namespace

void set_enabled(bool enabled) { checks_enabled.store(enabled, std::memory_order_relaxed); }
bool enabled() { return checks_enabled.load(std::memory_order_relaxed); }
void set_next_allocator_probe(bool (*probe)()) { next_allocator_probe = probe; }

void freed_twice(const void* p, const Span* s, Operation operation) {
  if (enabled()) say_freed(p, s->size, operation);
}

void not_a_block(const void* p, const Span* s, Operation operation) {
  if (!enabled()) return;
  Line line;
  line.text("tri: ").text(of(operation));
  if (s->kind == SpanKind::kLarge || s->kind == SpanKind::kHuge) {
    const auto into = static_cast<uint64_t>(static_cast<const char*>(p) - s->start);
    line.text(into % kBlockAlignment == 0 ? "interior pointer " : "misaligned pointer ").pointer(p).text(" (");
    line.number(into).text(" bytes into a large block of ").number(uint64_t{s->bytes}).text(" bytes)");
    return finish(line);
  }
  const uint64_t offset = s->offset_of(p);
  if (offset < s->size || offset / s->size > s->carved) {
    // In front of the first block, or behind the last one that was handed out.
    line.pointer(p).text(" which was never allocated");
    return finish(class_of(line, s));
  }
  const uint64_t into = offset % s->size;
  line.text(into % kBlockAlignment == 0 ? "interior pointer " : "misaligned pointer ").pointer(p).text(" (");
  line.number(into).text(" bytes into a block of size class ").number(uint64_t{s->size}).text(")");
  finish(line);
}

void wrong_size(const void* p, size_t bytes, const Span* s) {
  if (!enabled()) return;
  Line line;
  line.text("tri: free of ").pointer(p).text(" with wrong size ").number(uint64_t{bytes});
  finish(class_of(line, s));
}

bool is_foreign(const void* p, Operation operation) {
  if (Span* s = pagemap::find(p)) {
    const bool is_a_block = s->kind == SpanKind::kSmall && s->is_block(s->offset_of(p));
    if (!is_a_block) {
      not_a_block(p, s, operation);
      return false;
    }
    // A block of a page that has not been carved.
    if (!enabled()) return false;
    Line line;
    line.text("tri: ").text(of(operation)).pointer(p).text(" which was never allocated");
    finish(class_of(line, s));
    return false;
  }
  if (Span* s = heap.find_huge(p)) {
    not_a_block(p, s, operation);
    return false;
  }
  size_t size = 0;
  if (heap.was_freed_lately(p, &size)) return enabled() && say_freed(p, size, operation);

  Line line;
  line.text("tri: ").text(of(operation));
  char name[64] = "";
  const os::Mapping mapping = os::what_is_mapped_at(p, name, sizeof name);
  const bool is_ours = heap.owns(p);
  if (is_ours) {
    if (!enabled()) return false;
    finish(line.pointer(p).text(" which was never allocated"));
    return false;
  }
  switch (mapping) {
    case os::Mapping::kStack:
      line.text("stack pointer ").pointer(p);
      break;
    case os::Mapping::kFile:
      line.text("static pointer ").pointer(p).text(" (in ").text(name).text(")");
      break;
    case os::Mapping::kNone:
      line.text("wild pointer ").pointer(p).text(" (nothing is mapped there)");
      break;
    case os::Mapping::kBreak:
    case os::Mapping::kAnonymous:
    case os::Mapping::kUnknown: {
      // Memory of libc's own allocator lies above the break. Anonymous memory can be handed on only to an allocator
      // that checks what it is given: libc's would follow the pointer.
      const bool pass_on =
          mapping == os::Mapping::kBreak || (next_allocator_probe != nullptr && next_allocator_probe());
      if (!foreign_reported.exchange(true, std::memory_order_relaxed)) {
        line.text("foreign pointer ").pointer(p);
        line.text(pass_on ? " (passed on to the next allocator)" : " (left alone)").in_program().write_to(2);
      }
      return pass_on;
    }
  }
  if (enabled()) finish(line);
  return false;
}

}  // namespace misuse

uint64_t zeroed_link(const Span* s) {
  if (!misuse::enabled()) return kNil;
  Line line;
  line.text("tri: free list at ").pointer(s->start).text(" was overwritten");
  misuse::class_of(line, s);
  misuse::finish(line);
  return kNil;
}

uint64_t corrupt_link(const Span* s, const void* block) {
  if (!misuse::enabled()) return kNil;
  Line line;
  line.text("tri: block ").pointer(block).text(" was written after it was freed");
  misuse::class_of(line, s);
  misuse::finish(line);
  return kNil;
}

}  // namespace tri
