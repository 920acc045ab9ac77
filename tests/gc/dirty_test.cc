// dirty_test.cc - The kernel names every page that was written, however it was, and hardly any other.
#include "gc/dirty.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace tri::gc {
namespace {

const size_t kPage = os::page_size();

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

/// Pages of its own, unmapped at the end.
class Pages {
 public:
  explicit Pages(size_t count, int flags = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1)
      : bytes_(count * kPage), p_(static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, fd, 0))) {}
  ~Pages() { munmap(p_, bytes_); }
  char* operator[](size_t page) const { return p_ + page * kPage; }
  uintptr_t begin() const { return address(p_); }
  uintptr_t end() const { return begin() + bytes_; }
  void fill() const { memset(p_, 1, bytes_); }

 private:
  size_t bytes_;
  char* p_;
};

size_t open_descriptors() {
  size_t n = 0;
  for (int fd = 0; fd < 2048; ++fd) n += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return n;
}

class DirtyTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(dirty.begin(), 0); }
  void TearDown() override { DirtyPages::fail_after(-1); }

  /// The indexes of the pages that were written to, each named once.
  std::set<size_t> harvest(uintptr_t begin, uintptr_t end) {
    std::set<size_t> found;
    EXPECT_EQ(dirty.harvest(begin, end,
                            [&](uintptr_t from, uintptr_t to, bool present) {
                              EXPECT_TRUE(present);
                              for (uintptr_t at = from; at < to; at += kPage) {
                                EXPECT_TRUE(found.insert((at - begin) / kPage).second);
                              }
                            }),
              0);
    return found;
  }
  std::set<size_t> harvest(const Pages& p) { return harvest(p.begin(), p.end()); }
  void watch(const Pages& p) { ASSERT_EQ(dirty.watch(p.begin(), p.end()), 0); }

  using Set = std::set<size_t>;
  DirtyPages dirty;
};

TEST_F(DirtyTest, NamesThePagesThatWereWrittenOnceEach) {
  const Pages p(100);
  p.fill();
  watch(p);
  EXPECT_EQ(harvest(p), Set{});
  *p[3] = 2;
  *(p[4] + 17) = 2;
  *p[99] = 2;
  EXPECT_EQ(harvest(p), (Set{3, 4, 99}));
  EXPECT_EQ(harvest(p), Set{});
  *p[3] = 3;
  EXPECT_EQ(harvest(p), Set{3});
}

TEST_F(DirtyTest, ManyRunsAreAllNamed) {
  const Pages p(1000);
  p.fill();
  watch(p);
  Set odd;
  for (size_t i = 1; i < 1000; i += 2) {
    *p[i] = 2;
    odd.insert(i);
  }
  EXPECT_EQ(harvest(p), odd);
  EXPECT_EQ(harvest(p), Set{});
}

TEST_F(DirtyTest, ReservedMemoryIsCrossedInFewCalls) {
  constexpr size_t kGiB = size_t{1} << 30;
  const Pages p(64 * kGiB / kPage, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  const size_t used[] = {0, 7 * kGiB / kPage, 40 * kGiB / kPage, 64 * kGiB / kPage - 1};
  for (const size_t page : used) *p[page] = 1;
  watch(p);
  for (const size_t page : used) *p[page] = 2;
  // A call for each page table would be 32,768 of them, and minutes for terabytes.
  DirtyPages::fail_after(200);
  EXPECT_EQ(harvest(p), Set(std::begin(used), std::end(used)));
  DirtyPages::fail_after(200);
  EXPECT_EQ(harvest(p), Set{});
}

TEST_F(DirtyTest, PagesTouchedForTheFirstTimeAreDirty) {
  const Pages p(100);
  watch(p);
  *p[50] = 1;
  EXPECT_EQ(harvest(p), Set{50});
  *p[51] = 1;
  EXPECT_EQ(harvest(p), Set{51});
}

TEST_F(DirtyTest, ReadingDirtiesNothing) {
  const Pages p(10);
  p.fill();
  watch(p);
  EXPECT_EQ(*p[5], 1);
  EXPECT_EQ(harvest(p), Set{});
}

TEST_F(DirtyTest, SystemCallsWriteAndAreSeen) {
  const Pages p(10);
  p.fill();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "abc", 3), 3);
  watch(p);
  ASSERT_EQ(read(ends[0], p[7], 3), 3);
  EXPECT_EQ(harvest(p), Set{7});
  close(ends[0]);
  close(ends[1]);
}

TEST_F(DirtyTest, WhatIsMappedIntoTheRangeLaterIsDirty) {
  const Pages p(10);
  p.fill();
  watch(p);
  ASSERT_EQ(munmap(p[2], 3 * kPage), 0);
  EXPECT_EQ(harvest(p), Set{});
  ASSERT_EQ(mmap(p[3], kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), p[3]);
  *p[3] = 2;
  EXPECT_EQ(harvest(p), Set{3});
  *p[3] = 3;
  EXPECT_EQ(harvest(p), Set{3});
}

TEST_F(DirtyTest, WhatIsMovedIntoTheRangeIsDirty) {
  const Pages p(10);
  p.fill();
  void* const other = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(other, 5, kPage);
  watch(p);
  ASSERT_EQ(mremap(other, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, p[6]), p[6]);
  EXPECT_EQ(harvest(p), Set{6});
  // Within the range, too: what was clean at its old place is new at the other.
  ASSERT_EQ(mremap(p[1], kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, p[8]), p[8]);
  EXPECT_EQ(harvest(p), Set{8});
}

TEST_F(DirtyTest, PagesGivenBackAreDirtyWhenTouchedAnew) {
  const Pages p(10);
  p.fill();
  watch(p);
  ASSERT_EQ(madvise(p[0], 10 * kPage, MADV_DONTNEED), 0);
  EXPECT_EQ(harvest(p), Set{});
  *p[9] = 2;
  EXPECT_EQ(harvest(p), Set{9});
}

TEST_F(DirtyTest, ARangeWithoutAnyMappingIsClean) {
  const Pages p(10);
  p.fill();
  watch(p);
  ASSERT_EQ(munmap(p[0], 10 * kPage), 0);
  EXPECT_EQ(harvest(p), Set{});
  EXPECT_EQ(dirty.watch(p.begin(), p.end()), 0);
}

alignas(4096) char data[4 * 4096] = {1};
alignas(4096) char bss[4 * 4096];

TEST_F(DirtyTest, DataSegmentsAreWatched) {
  for (char* const segment : {data, bss}) {
    memset(segment, 1, 4096 * 4);
    ASSERT_EQ(dirty.watch(address(segment), address(segment) + 4 * 4096), 0);
    segment[4096] = 3;
    EXPECT_EQ(harvest(address(segment), address(segment) + 4 * 4096), Set{1});
  }
}

TEST_F(DirtyTest, StacksAreWatched) {
  std::atomic<int> step{0};
  char* volatile place = nullptr;
  std::thread t([&] {
    volatile char far[64 * 1024] = {};
    place = const_cast<char*>(far) + 8 * 4096;
    step = 1;
    while (step != 2) {
    }
    far[8 * 4096] = 1;
    step = 3;
    while (step != 4) {
    }
  });
  while (step != 1) {
  }
  const uintptr_t begin = align_down(address(place), kPage);
  EXPECT_EQ(dirty.watch(begin, begin + kPage), 0);
  EXPECT_EQ(harvest(begin, begin + kPage), Set{});
  step = 2;
  while (step != 3) {
  }
  EXPECT_EQ(harvest(begin, begin + kPage), Set{0});
  step = 4;
  t.join();
}

TEST_F(DirtyTest, SharedAndFileMappingsAreWatched) {
  const int fd = static_cast<int>(syscall(SYS_memfd_create, "dirty", 0));
  ASSERT_EQ(ftruncate(fd, static_cast<off_t>(8 * kPage)), 0);
  for (const int flags : {MAP_SHARED, MAP_PRIVATE}) {
    const Pages p(8, flags, fd);
    p.fill();
    watch(p);
    *p[4] = 2;
    EXPECT_EQ(harvest(p), Set{4});
    EXPECT_EQ(harvest(p), Set{});
  }
  close(fd);
}

TEST_F(DirtyTest, NoWriteIsLostWhileThreadsWriteAtFullSpeed) {
  // The copy is brought up to date from dirty pages only. Once all have stopped, it has to be the same.
  constexpr size_t kCount = 2000;
  const Pages p(kCount);
  p.fill();
  watch(p);
  std::vector<char> copy(kCount * kPage);
  memcpy(copy.data(), p[0], copy.size());
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (uint64_t id = 0; id < 2; ++id) {
    threads.emplace_back([&, id] {
      uint64_t x = id + 1;
      for (uint64_t n = 0; !over; ++n) {
        x = x * 6364136223846793005 + 1442695040888963407;
        auto* const word = reinterpret_cast<std::atomic<uint64_t>*>(p[(x >> 33) % kCount] + 8 * id);
        word->store(n, std::memory_order_relaxed);
      }
    });
  }
  const auto update = [&] {
    EXPECT_EQ(dirty.harvest(p.begin(), p.end(),
                            [&](uintptr_t from, uintptr_t to, bool) {
                              for (uintptr_t at = from; at < to; at += 8) {
                                const auto* const word = reinterpret_cast<const std::atomic<uint64_t>*>(at);
                                const uint64_t value = word->load(std::memory_order_relaxed);
                                memcpy(&copy[at - p.begin()], &value, 8);
                              }
                            }),
              0);
  };
  for (int round = 0; round < 200; ++round) update();
  over = true;
  for (std::thread& t : threads) t.join();
  update();
  EXPECT_EQ(memcmp(copy.data(), p[0], copy.size()), 0);
}

TEST_F(DirtyTest, AForkedChildIsNotWatchedAndLeavesTheParentAlone) {
  const Pages p(10);
  p.fill();
  watch(p);
  const pid_t child = fork();
  if (child == 0) {
    *p[1] = 2;
    dirty.forget_after_fork();
    DirtyPages own;
    if (dirty.is_watching() || own.begin() != 0 || own.watch(p.begin(), p.end()) != 0) _exit(1);
    *p[2] = 2;
    size_t pages = 0;
    if (own.harvest(p.begin(), p.end(), [&](uintptr_t a, uintptr_t b, bool) { pages += (b - a) / kPage; }) != 0)
      _exit(2);
    _exit(pages == 1 ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(harvest(p), Set{});
  *p[4] = 2;
  EXPECT_EQ(harvest(p), Set{4});
}

TEST_F(DirtyTest, AProgramThatClosesEverythingIsNoticed) {
  const Pages p(10);
  p.fill();
  watch(p);
  for (int fd = 3; fd < 2048; ++fd) close(fd);
  EXPECT_EQ(dirty.harvest(p.begin(), p.end(), [](uintptr_t, uintptr_t, bool) {}), -EBADF);
  EXPECT_EQ(dirty.watch(p.begin(), p.end()), -EBADF);
  // What has our numbers now is the program's, and stays open.
  std::vector<int> theirs;
  while (theirs.empty() || theirs.back() < 920) {
    theirs.push_back(open("/dev/null", O_RDONLY));
    ASSERT_GE(theirs.back(), 0);
  }
  EXPECT_EQ(dirty.harvest(p.begin(), p.end(), [](uintptr_t, uintptr_t, bool) {}), -EBADF);
  dirty.end();
  for (const int fd : theirs) EXPECT_EQ(close(fd), 0);
}

TEST_F(DirtyTest, DescriptorsAreHighAndGoneAtTheEnd) {
  const int lowest = dup(0);
  EXPECT_LT(lowest, 64);
  close(lowest);
  dirty.end();
  const size_t before = open_descriptors();
  ASSERT_EQ(dirty.begin(), 0);
  EXPECT_EQ(open_descriptors(), before + 2);
  for (int fd = 900; fd < 1000; ++fd) {
    const int flags = fcntl(fd, F_GETFD);
    EXPECT_TRUE(flags < 0 || (flags & FD_CLOEXEC) != 0) << fd;
  }
  dirty.end();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(DirtyTest, AfterTheEndPagesAreFreeForOthers) {
  const Pages p(10);
  p.fill();
  DirtyPages other;
  ASSERT_EQ(other.begin(), 0);
  watch(p);
  EXPECT_EQ(other.watch(p.begin(), p.end()), -EBUSY);
  EXPECT_EQ(other.harvest(p.begin(), p.end(), [](uintptr_t, uintptr_t, bool) {}), -EBUSY);
  dirty.unwatch(p.begin(), p.begin() + 5 * kPage);
  EXPECT_EQ(other.watch(p.begin(), p.begin() + 5 * kPage), 0);
  dirty.end();
  EXPECT_EQ(other.watch(p.begin(), p.end()), 0);
}

TEST_F(DirtyTest, EveryRefusalIsAnErrorAndLeavesNothingOpen) {
  const Pages p(10);
  p.fill();
  dirty.end();
  const size_t before = open_descriptors();
  int calls = 0;
  for (;; ++calls) {
    ASSERT_LT(calls, 100);
    DirtyPages::fail_after(calls);
    int error = dirty.begin();
    if (error == 0) error = dirty.watch(p.begin(), p.end());
    *p[5] = 2;
    Set seen;
    if (error == 0) {
      error = dirty.harvest(p.begin(), p.end(),
                            [&](uintptr_t a, uintptr_t, bool) { seen.insert((a - p.begin()) / kPage); });
    }
    DirtyPages::fail_after(-1);
    dirty.end();
    EXPECT_EQ(open_descriptors(), before);
    if (error == 0) {
      EXPECT_EQ(seen, Set{5});
      break;
    }
    EXPECT_EQ(error, -EPERM) << calls;
  }
  EXPECT_EQ(calls, 10);
}

}  // namespace
}  // namespace tri::gc
