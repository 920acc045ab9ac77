// why.cc - See why.h.
#include "gc/why.h"

#include <cerrno>

#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/memory_map.h"
#include "gc/peek.h"
#include "gc/stop.h"

namespace tri::gc {
namespace {

// Of the caller's stack so much, half of it on either side of the stack pointer, is taken for variables of who asks.
constexpr uintptr_t kOwnFrames = 128 * 1024;

}  // namespace

Why::~Why() {
  if (notes_ != nullptr) os::unmap(notes_, align_up(room_ * sizeof(Note), os::page_size()));
}

size_t Why::bytes_of(uint32_t i) const { return usable_size(reinterpret_cast<const void*>(notes_[i].block)); }

long Why::find(const void* p, uintptr_t sp) {
  if (in_slow_path()) return -EAGAIN;
  if (const int error = stop_world(fork_prepare, fork_parent); error != 0) return error;
  const long result = find_stopped(reinterpret_cast<uintptr_t>(p), sp);
  resume_world();
  return result;
}

long Why::find_stopped(uintptr_t word, uintptr_t sp) {
  Roots roots;
  if (const int error = roots.find(sp); error != 0) return error;
  roots.leave_out_ended_threads();
  Shadow shadow;
  if (const int error = shadow.begin(); error != 0) return error;
  Ref target;
  long result = -EINVAL;
  // Free blocks are marked.
  if (shadow.find(word, &target) && !target.is_marked()) {
    room_ = shadow.blocks() + 1;
    notes_ = room_ < kNone
                 ? static_cast<Note*>(os::map(align_up(room_ * sizeof(Note), os::page_size()), os::page_size()))
                 : nullptr;
    result = -ENOMEM;
    if (notes_ != nullptr) {
      target_ = reinterpret_cast<uintptr_t>(target.start);
      own_sp_ = sp - kOwnFrames / 2;  // below it stands what passed p on to us, and counts as a red zone
      result = 0;
      if (search(roots, shadow, sp)) result = turn_round(found_);
    }
  }
  shadow.end();
  return result;
}

bool Why::search(Roots& roots, Shadow& shadow, uintptr_t sp) {
  struct Both {
    Why* why;
    const Shadow* shadow;
  } both{this, &shadow};
  roots.each({[](void* arg, const void* begin, const void* end) {
                auto* const b = static_cast<Both*>(arg);
                b->why->scan(*b->shadow, reinterpret_cast<uintptr_t>(begin), reinterpret_cast<uintptr_t>(end), kNone);
              },
              &both});
  for (uint32_t i = 0; i < count_ && found_ == kNone; ++i) {
    Ref r;
    if (!shadow.find(notes_[i].block, &r) || r.pointer_free) continue;
    scan(shadow, notes_[i].block, notes_[i].block + r.bytes, i);
  }
  if (found_ == kNone && own_word_ != 0) {
    found_ = static_cast<uint32_t>(count_);
    note(target_, own_word_, kNone);
  }
  if (found_ == kNone) return false;
  uint32_t first = found_;
  while (notes_[first].link != kNone) first = notes_[first].link;
  classify(notes_[first].from, sp);
  return true;
}

void Why::scan(const Shadow& shadow, uintptr_t begin, uintptr_t end, uint32_t from) {
  constexpr uintptr_t kWord = sizeof(uintptr_t);
  const uintptr_t first = align_up(begin, kWord);
  for (uintptr_t at = first; at + kWord <= end && found_ == kNone; at += kWord) {
    Ref r;
    if (!shadow.find(peek(reinterpret_cast<const uintptr_t*>(at)), &r)) continue;
    const auto block = reinterpret_cast<uintptr_t>(r.start);
    if (block == target_ && from == kNone && at - own_sp_ < kOwnFrames) {
      own_word_ = at;
      continue;
    }
    if (!r.mark()) continue;
    if (block == target_) found_ = static_cast<uint32_t>(count_);
    note(block, from == kNone ? at : at - begin, from);
  }
}

void Why::note(uintptr_t block, uint64_t from, uint32_t link) {
  if (count_ < room_) notes_[count_++] = {block, from, link};
}

/// The links led backwards.
long Why::turn_round(uint32_t last) {
  long n = 0;
  uint32_t next = kNone;
  for (uint32_t i = last; i != kNone; ++n) {
    const uint32_t before = notes_[i].link;
    notes_[i].link = next;
    next = i;
    i = before;
  }
  first_ = next;
  return n;
}

void Why::classify(uintptr_t at, uintptr_t sp) {
  root_ = {RootKind::kMapping, 0, at};
  if (heap.owns(reinterpret_cast<const void*>(at))) root_.kind = RootKind::kRegistered;
  MemoryMap map;
  if (map.read() != 0) return;
  const Mapping* in = map.begin();
  while (in != map.end() && !in->contains(at)) ++in;
  if (in == map.end()) return;
  const auto of_thread = [&](uintptr_t its_sp, uintptr_t thread_pointer, uint32_t id, RootKind stack) {
    if (in->contains(its_sp) && at >= its_sp) {
      root_.kind = stack;
    } else if (in->contains(thread_pointer) && !in->contains(its_sp)) {
      root_.kind = RootKind::kThreadLocal;
    } else {
      return;
    }
    root_.thread = id;
  };
  of_thread(sp, reinterpret_cast<uintptr_t>(__builtin_thread_pointer()), 0, RootKind::kOwnStack);
  each_stopped([&](const StoppedThread& t) {
    of_thread(t.sp, t.thread_pointer, t.id, RootKind::kStack);
    const auto registers = reinterpret_cast<uintptr_t>(t.registers);
    if (at >= registers && at < reinterpret_cast<uintptr_t>(t.registers_end)) {
      root_ = {RootKind::kRegister, t.id, at};
    }
  });
}

}  // namespace tri::gc
