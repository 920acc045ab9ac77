// new_delete_test.cc - operator new and delete behave as libstdc++'s: bad_alloc, new_handler, alignment, sizes.
//
// The library has no C++ runtime of its own, so an exception that it raises must be the program's, catchable as
// std::bad_alloc, and the handler is the one that the program gave to std::set_new_handler.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <cstdlib>
#include <new>
#include <stdexcept>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

constexpr size_t kHuge = size_t{PTRDIFF_MAX} - 5000;
constexpr std::align_val_t kAlign{128};

struct NewForm {
  const char* name;
  void* (*allocate)(size_t);
  bool throws;
};

const NewForm kForms[] = {
    {"new", [](size_t n) { return ::operator new(n); }, true},
    {"new[]", [](size_t n) { return ::operator new[](n); }, true},
    {"new(align)", [](size_t n) { return ::operator new(n, kAlign); }, true},
    {"new[](align)", [](size_t n) { return ::operator new[](n, kAlign); }, true},
    {"new(nothrow)", [](size_t n) { return ::operator new(n, std::nothrow); }, false},
    {"new[](nothrow)", [](size_t n) { return ::operator new[](n, std::nothrow); }, false},
    {"new(align, nothrow)", [](size_t n) { return ::operator new(n, kAlign, std::nothrow); },
     false},
    {"new[](align, nothrow)", [](size_t n) { return ::operator new[](n, kAlign, std::nothrow); },
     false},
};

struct HandlerGuard {
  explicit HandlerGuard(std::new_handler h) : old(std::set_new_handler(h)) {}
  ~HandlerGuard() { std::set_new_handler(old); }
  std::new_handler old;
};

int g_calls;
void* g_hoard;

enum class Ended { kBlock, kNull, kBadAlloc, kLengthError, kOther };

Ended attempt(const NewForm& form, size_t size) {
  try {
    void* p = form.allocate(opaque(size));
    if (p == nullptr) return Ended::kNull;
    free(p);
    return Ended::kBlock;
  } catch (const std::bad_alloc&) {
    return Ended::kBadAlloc;
  } catch (const std::length_error&) {
    return Ended::kLengthError;
  } catch (...) {
    return Ended::kOther;
  }
}

TEST(NewDelete, FailureThrowsBadAllocOrReturnsNull) {
  for (const auto& form : kForms)
    for (size_t size : {kHuge, SIZE_MAX, SIZE_MAX - 100, size_t{PTRDIFF_MAX} + 1, size_t{1} << 47})
      EXPECT_EQ(attempt(form, size), form.throws ? Ended::kBadAlloc : Ended::kNull)
          << form.name << " " << size;
}

TEST(NewDelete, ArrayNewThatOverflowsThrows) {
  size_t count = opaque(SIZE_MAX / 8);
  EXPECT_THROW(opaque(new double[count]), std::bad_alloc);
  EXPECT_EQ(opaque(new (std::nothrow) double[opaque(size_t{PTRDIFF_MAX} / 8)]), nullptr);
}

TEST(NewDelete, TheHandlerIsCalledUntilItIsTakenAway) {
  for (const auto& form : kForms) {
    g_calls = 0;
    HandlerGuard guard([] {
      if (++g_calls == 3) std::set_new_handler(nullptr);
    });
    EXPECT_EQ(attempt(form, kHuge), form.throws ? Ended::kBadAlloc : Ended::kNull) << form.name;
    EXPECT_EQ(g_calls, 3) << form.name;
  }
}

TEST(NewDelete, TheHandlerMayThrowBadAllocAndIsThenCalledOnce) {
  for (const auto& form : kForms) {
    g_calls = 0;
    HandlerGuard guard([] {
      ++g_calls;
      throw std::bad_alloc();
    });
    EXPECT_EQ(attempt(form, kHuge), form.throws ? Ended::kBadAlloc : Ended::kNull) << form.name;
    EXPECT_EQ(g_calls, 1) << form.name;
  }
}

TEST(NewDelete, AnyExceptionOfTheHandlerReachesTheCallerButNotThroughNothrow) {
  for (const auto& form : kForms) {
    g_calls = 0;
    HandlerGuard guard([] {
      ++g_calls;
      throw std::length_error("from the handler");
    });
    EXPECT_EQ(attempt(form, kHuge), form.throws ? Ended::kLengthError : Ended::kNull) << form.name;
    EXPECT_EQ(g_calls, 1) << form.name;
  }
}

TEST(NewDelete, TheHandlerIsNotCalledWhenMemoryCanBeHad) {
  HandlerGuard guard([] { ++g_calls; });
  g_calls = 0;
  for (const auto& form : kForms)
    for (size_t n : interesting_sizes())
      EXPECT_EQ(attempt(form, n), Ended::kBlock) << form.name << " " << n;
  EXPECT_EQ(g_calls, 0);
}

TEST(NewDelete, MallocAndItsKinNeverCallTheHandler) {
  HandlerGuard guard([] {
    ++g_calls;
    std::set_new_handler(nullptr);
  });
  g_calls = 0;
  EXPECT_EQ(malloc(opaque(kHuge)), nullptr);
  EXPECT_EQ(calloc(1, opaque(kHuge)), nullptr);
  EXPECT_EQ(aligned_alloc(64, opaque(kHuge)), nullptr);
  EXPECT_EQ(g_calls, 0);
}

TEST(NewDelete, AlignmentThatIsNoPowerOfTwoIsRefusedWithoutTheHandler) {
  HandlerGuard guard([] {
    ++g_calls;
    std::set_new_handler(nullptr);
  });
  g_calls = 0;
  for (size_t bad : {size_t{0}, size_t{3}, size_t{24}, size_t{100}}) {
    EXPECT_THROW(
        ::operator delete(::operator new (opaque<size_t>(10), std::align_val_t{opaque(bad)})),
        std::bad_alloc)
        << bad;
    EXPECT_EQ(::operator new (opaque<size_t>(10), std::align_val_t{opaque(bad)}, std::nothrow),
              nullptr)
        << bad;
  }
  EXPECT_EQ(g_calls, 0);
}

TEST(NewDelete, ExceptionsUnwindThroughManyFramesAndThreads) {
  // A thousand times, so that what the throw allocates is seen to be freed.
  long before = rss_kib();
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::vector<int>> held(10, std::vector<int>(100));
    EXPECT_EQ(attempt(kForms[i % 4], kHuge), Ended::kBadAlloc);
  }
  EXPECT_LT(rss_kib() - before, 2048);
}

TEST(NewDelete, EveryFormOfDeleteTakesItsNewsBlock) {
  for (size_t n : interesting_sizes()) {
    ::operator delete(::operator new(n));
    ::operator delete(::operator new(n), n);
    ::operator delete(::operator new(n, std::nothrow), std::nothrow);
    ::operator delete[](::operator new[](n));
    ::operator delete[](::operator new[](n), n);
    ::operator delete[](::operator new[](n, std::nothrow), std::nothrow);
    for (size_t alignment : {size_t{16}, size_t{32}, size_t{64}, size_t{4096}, size_t{1} << 20}) {
      std::align_val_t a{alignment};
      ::operator delete(::operator new(n, a), a);
      ::operator delete(::operator new(n, a), n, a);
      ::operator delete(::operator new(n, a, std::nothrow), a, std::nothrow);
      ::operator delete[](::operator new[](n, a), a);
      ::operator delete[](::operator new[](n, a), n, a);
      ::operator delete[](::operator new[](n, a, std::nothrow), a, std::nothrow);
    }
  }
  ::operator delete(nullptr);
  ::operator delete (nullptr, size_t{8});
  ::operator delete[](nullptr, size_t{8}, std::align_val_t{64});
}

TEST(NewDelete, OverAlignedTypesAreAlignedAndKeepTheirContent) {
  struct alignas(256) Wide {
    unsigned char bytes[300];
  };
  std::vector<Wide*> all;
  for (size_t i = 0; i < 500; ++i) {
    all.push_back(new Wide[3]);
    ASSERT_TRUE(aligned_to(all.back(), 256));
    fill(all.back(), sizeof(Wide) * 3, i);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(holds(all[i], sizeof(Wide) * 3, i));
    delete[] all[i];
  }
}

TEST(NewDelete, TheHandlerCanMakeRoomAndTheAllocationThenSucceeds) {
  // Hoard and request together exceed the address-space limit; the handler gives the hoard up.
  constexpr size_t kPart = size_t{400} << 20;
  rlimit old{};
  getrlimit(RLIMIT_AS, &old);
  for (const auto& form : kForms) {
    malloc_trim(0);
    g_calls = 0;
    g_hoard = malloc(kPart);
    ASSERT_NE(g_hoard, nullptr);
    rlimit tight = old;
    tight.rlim_cur =
        static_cast<rlim_t>(proc_number("/proc/self/status", "\nVmSize:")) * 1024 + kPart / 2;
    ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
    HandlerGuard guard([] {
      if (++g_calls > 1) std::set_new_handler(nullptr);  // so that a failing test ends
      free(g_hoard);
      g_hoard = nullptr;
      malloc_trim(0);
    });
    Ended ended = attempt(form, kPart);
    setrlimit(RLIMIT_AS, &old);
    EXPECT_EQ(ended, Ended::kBlock) << form.name;
    EXPECT_EQ(g_calls, 1) << form.name;
    free(g_hoard);
    g_hoard = nullptr;
  }
}

}  // namespace
}  // namespace tri_test
