// verify.cc - See verify.h.
#include "gc/verify.h"

#include "alloc/base/bits.h"
#include "alloc/base/check.h"
#include "alloc/base/print.h"
#include "alloc/os/os.h"
#include "gc/peek.h"
#include "gc/roots.h"

namespace tri::gc {
namespace {

// Blocks that are still to be read, all of them at the worst: addresses, which cost nothing until they are used.
constexpr size_t kStackBytes = size_t{1} << 30;

struct Verifier {
  const Shadow& marks;
  Shadow reached;
  Ref* stack = nullptr;
  size_t depth = 0;

  void word(uintptr_t w, const void* where) {
    Ref r;
    if (!reached.find(w, &r) || !r.mark()) return;
    Ref theirs;
    if (marks.find(w, &theirs) && theirs.start == r.start && !theirs.is_marked()) {
      Line line;
      line.text("tri: gc: block ")
          .pointer(r.start)
          .text(" of ")
          .number(uint64_t{r.bytes})
          .text(" bytes is reached from ");
      line.pointer(where).text(", and not marked").in_program().write_to(2);
      TRI_CHECK(false && "all that can be reached is marked");
    }
    if (!r.pointer_free && (depth + 1) * sizeof(Ref) < kStackBytes) stack[depth++] = r;
  }
  void words(const void* begin, const void* end) {
    const auto* w = reinterpret_cast<const uintptr_t*>(align_up(reinterpret_cast<uintptr_t>(begin), sizeof(uintptr_t)));
    for (; reinterpret_cast<uintptr_t>(w + 1) <= reinterpret_cast<uintptr_t>(end); ++w) word(peek(w), w);
  }
};

}  // namespace

void verify_marks(const Shadow& marks, uintptr_t sp) {
  Roots roots;
  if (roots.find(sp) != 0) return;
  Verifier v{marks, {}};
  v.stack = static_cast<Ref*>(os::map(kStackBytes, os::page_size()));
  if (v.stack == nullptr) return;
  if (v.reached.begin(Shadow::Free::kCurrent) == 0) {
    roots.each(
        {[](void* arg, const void* begin, const void* end) { static_cast<Verifier*>(arg)->words(begin, end); }, &v});
    while (v.depth != 0) {
      const Ref r = v.stack[--v.depth];
      v.words(r.start, r.start + r.bytes);
    }
    v.reached.end();
  }
  os::unmap(v.stack, kStackBytes);
}

}  // namespace tri::gc
