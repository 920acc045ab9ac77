// unwind_test.cc - The frames that our unwinder finds are those that the compiler's own finds, on stacks of all kinds.
#include "alloc/unwind.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unwind.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>

#include "alloc/os/os.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMost = 64;

struct Both {
  CodePlace ours[kMost];
  size_t our_count = 0;
  uintptr_t theirs[kMost];
  size_t their_count = 0;
};

Unwinder& unwinder() {
  static const auto u = std::make_unique<Unwinder>();
  return *u;
}

_Unwind_Reason_Code add_theirs(_Unwind_Context* context, void* to) {
  auto* const b = static_cast<Both*>(to);
  int before = 0;
  const uintptr_t pc = _Unwind_GetIPInfo(context, &before);
  if (pc == 0) return _URC_NO_REASON;
  b->theirs[b->their_count++] = before != 0 ? pc : pc - 1;
  return b->their_count == kMost ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/// Both views of the caller's stack. The innermost frame is this function's, each unwinder's at another place in it.
[[gnu::noinline]] void look(Both* b) {
  arch::Registers regs;
  arch::capture(&regs);
  b->our_count = unwinder().walk(&regs, b->ours, kMost);
  b->their_count = 0;
  _Unwind_Backtrace(add_theirs, b);
}

void expect_same(const Both& b, size_t least) {
  EXPECT_EQ(b.our_count, b.their_count);
  EXPECT_GE(b.our_count, least);
  for (size_t i = 1; i < std::min(b.our_count, b.their_count); ++i) {
    EXPECT_EQ(b.ours[i].address, b.theirs[i]) << "frame " << i;
  }
}

template <class Fn>
[[gnu::noinline]] void deep(int n, Fn&& fn) {
  char room[200];
  asm volatile("" : : "r"(room) : "memory");
  if (n == 0) {
    fn();
  } else {
    deep(n - 1, fn);
  }
  asm volatile("" : : "r"(room) : "memory");  // no tail call
}

TEST(Unwind, FindsTheFramesOfPlainCalls) {
  for (int depth = 0; depth < 60; ++depth) {
    Both b;
    deep(depth, [&] { look(&b); });
    expect_same(b, std::min<size_t>(static_cast<size_t>(depth) + 2, kMost));
  }
}

TEST(Unwind, StopsWhereThereIsNoMoreRoom) {
  Both b;
  arch::Registers regs;
  deep(40, [&] {
    arch::capture(&regs);
    b.our_count = unwinder().walk(&regs, b.ours, 5);
  });
  EXPECT_EQ(b.our_count, 5U);
}

TEST(Unwind, NamesTheFilesOfTheirCode) {
  Both b;
  std::vector<int> values(40);
  std::iota(values.begin(), values.end(), 0);
  // A callback of libc's.
  static Both* to;
  to = &b;
  qsort(values.data(), values.size(), sizeof(int), [](const void* x, const void* y) {
    if (to != nullptr) look(to);
    to = nullptr;
    return *static_cast<const int*>(y) - *static_cast<const int*>(x);
  });
  expect_same(b, 4);
  const Origin* const own = Modules::origin(b.ours[1].origin);
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(std::filesystem::path(own->path), std::filesystem::read_symlink("/proc/self/exe"));
  bool libc = false;
  for (size_t i = 0; i < b.our_count; ++i) {
    const Origin* const o = Modules::origin(b.ours[i].origin);
    ASSERT_NE(o, nullptr) << i;
    libc = libc || strstr(o->path, "libc.so") != nullptr;
    Dl_info info{};
    ASSERT_NE(dladdr(reinterpret_cast<void*>(b.ours[i].address), &info), 0);
    // The program itself may be linked to a fixed place.
    const uintptr_t bias = b.ours[i].address - b.ours[i].offset;
    EXPECT_TRUE(bias == 0 || bias == reinterpret_cast<uintptr_t>(info.dli_fbase));
  }
  EXPECT_TRUE(libc);
}

TEST(Unwind, PassesCallbacksOfTemplatesAndFunctionObjects) {
  std::vector<int> values(1000);
  std::mt19937 random(7);
  for (int& v : values) v = static_cast<int>(random());
  size_t looks = 0;
  std::function<bool(int, int)> less = [&](int a, int b) {
    if (++looks % 97 == 0) {
      Both both;
      look(&both);
      expect_same(both, 4);
    }
    return a < b;
  };
  std::sort(values.begin(), values.end(), less);
  EXPECT_TRUE(std::is_sorted(values.begin(), values.end()));
  EXPECT_GT(looks, 1000U);
}

[[gnu::noinline]] void with_growing_frame(size_t n, Both* b) {
  // The frame's base is then known by the frame pointer alone; where the frame is aligned more than usual, by an expression.
  alignas(64) char aligned[64];
  auto* const room = static_cast<char*>(__builtin_alloca(n));
  memset(room, 1, n);
  asm volatile("" : : "r"(room), "r"(aligned) : "memory");
  look(b);
  asm volatile("" : : "r"(room), "r"(aligned) : "memory");
}

TEST(Unwind, FramesOfAnySizeAndAlignment) {
  for (const size_t n : {16UL, 1000UL, 5000UL, 100'000UL}) {
    Both b;
    deep(3, [&] { with_growing_frame(n, &b); });
    expect_same(b, 6);
  }
}

#if !defined __SANITIZE_THREAD__  // The other unwinder allocates, which TSan does not want in a handler.
Both in_handler;
void handle(int) { look(&in_handler); }

TEST(Unwind, GoesOnFromASignalHandlerToWhatItInterrupted) {
  struct sigaction action {};
  action.sa_handler = handle;
  sigaction(SIGUSR1, &action, nullptr);
  deep(5, [] { raise(SIGUSR1); });
  expect_same(in_handler, 9);
}

TEST(Unwind, AlsoFromAnAlternateStack) {
  std::vector<char> stack(64 * 1024);
  const stack_t alternate = {stack.data(), 0, stack.size()};
  stack_t before{};
  sigaltstack(&alternate, &before);
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  deep(5, [] { raise(SIGUSR1); });
  sigaltstack(&before, nullptr);
  expect_same(in_handler, 9);
}

volatile int zero;
[[gnu::noinline, gnu::no_sanitize("undefined", "address", "thread")]] int fault_at_first_instruction(int* p) {
  return *p;
}

TEST(Unwind, FromTheVeryInstructionThatASignalInterrupted) {
  // The address is that of a function's first instruction: one less would be in the function before it.
  static sigjmp_buf back;
  struct sigaction action {};
  action.sa_handler = [](int) {
    look(&in_handler);
    siglongjmp(back, 1);
  };
  action.sa_flags = SA_NODEFER;
  struct sigaction before {};
  sigaction(SIGSEGV, &action, &before);
  if (sigsetjmp(back, 1) == 0) zero = fault_at_first_instruction(nullptr);
  sigaction(SIGSEGV, &before, nullptr);
  expect_same(in_handler, 5);
}
#endif

ucontext_t outside, inside;
TEST(Unwind, EndsWhereACoroutineBegan) {
  static Both b;
  void* const stack = mmap(nullptr, 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  getcontext(&inside);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = 64 * 1024;
  inside.uc_link = &outside;
  makecontext(
      &inside, [] { deep(4, [] { look(&b); }); }, 0);
  swapcontext(&outside, &inside);
  // Theirs may find one more at the end, or none: where it begins is nobody's call.
  ASSERT_GE(b.our_count, 6U);
  for (size_t i = 1; i < 6; ++i) EXPECT_EQ(b.ours[i].address, b.theirs[i]) << i;
  EXPECT_LE(b.our_count, 9U);
  munmap(stack, 64 * 1024);
}

TEST(Unwind, ModulesThatCameAndWentAndCameAgain) {
  int unloaded = 0;
  for (int i = 0; i < 20; ++i) {
    // A library that nothing else here has.
    void* const lib = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(lib, nullptr);
    const char* const name = i % 2 == 0 ? "libresolv.so.2" : "libnss_compat.so.2";
    void* const other = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    Both b;
    look(&b);
    expect_same(b, 3);
    ASSERT_NE(other, nullptr);
    const Module* m = nullptr;
    Dl_info info{};
    void* const symbol = dlsym(other, i % 2 == 0 ? "ns_format_ttl" : "_nss_compat_endgrent");
    ASSERT_NE(symbol, nullptr);
    dladdr(symbol, &info);
    ASSERT_EQ(unwinder().modules().refresh(), 0);
    m = unwinder().modules().find(reinterpret_cast<uintptr_t>(symbol));
    ASSERT_NE(m, nullptr);
    EXPECT_TRUE(unwinder().modules().is_current(*m));
    EXPECT_EQ(std::filesystem::path(Modules::origin(m->origin)->path).filename(),
              std::filesystem::canonical(info.dli_fname).filename());
    const Module then = *m;
    dlclose(other);
    // Something else may still want it.
    void* const still = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    EXPECT_EQ(unwinder().modules().is_current(then), still != nullptr);
    if (still != nullptr) dlclose(still);
    unloaded += still == nullptr;
    EXPECT_NE(Modules::origin(then.origin), nullptr);
    dlclose(lib);
  }
  EXPECT_GT(unloaded, 0);
}

TEST(Unwind, GarbageEndsTheWalkAndNothingElse) {
  std::mt19937_64 random(test::seed());
  auto* const page =
      static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(page + 4096, 4096, PROT_NONE);
  const auto code = reinterpret_cast<uintptr_t>(&expect_same);
  for (size_t i = 0; i < test::rounds(20'000); ++i) {
    arch::Registers regs;
    for (uintptr_t& r : regs.r) {
      switch (random() % 5) {
        case 0:
          r = random();
          break;
        case 1:
          r = reinterpret_cast<uintptr_t>(page) + random() % 8192;
          break;
        case 2:
          r = reinterpret_cast<uintptr_t>(page + 4096) - random() % 64 * 8;
          break;
        case 3:
          r = code + random() % 100'000 - 50'000;
          break;
        default:
          r = random() % 4096;
      }
    }
    // The stack pointer alone is true.
    regs.r[arch::kStackPointer] = reinterpret_cast<uintptr_t>(page) + random() % 512 * 8;
    for (size_t w = 0; w < 16; ++w) reinterpret_cast<uintptr_t*>(page + 4096)[-1 - static_cast<long>(w)] = regs.r[w];
    regs.pc = random() % 2 == 0 ? code + random() % 4000
                                : reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "qsort")) + random() % 100'000;
    CodePlace out[kMost];
    EXPECT_LE(unwinder().walk(&regs, out, kMost), kMost);
  }
  munmap(page, 8192);
}

TEST(Unwind, WithoutMemoryForThePictureThereAreNoFrames) {
  const auto u = std::make_unique<Unwinder>();
  arch::Registers regs;
  arch::capture(&regs);
  CodePlace out[4];
  // The first module that is looked for needs memory, which is of the library's own.
  os::fail_after(0);
  (void)u->modules().refresh();
  const size_t n = u->walk(&regs, out, 4);
  os::fail_after(-1);
  EXPECT_LE(n, 4U);
  EXPECT_GE(u->walk(&regs, out, 4), 1U);
}

}  // namespace
}  // namespace tri
