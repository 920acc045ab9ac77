// startup_test.cc - The library serves from the first instruction of a process to its last.
#include <gtest/gtest.h>

#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

std::string early() { return probe("libearly.so"); }

const char* const kProgramsWords = "main\natexit\nstatic object ended\ndestructor\n";

TEST(Startup, AllocationsBeforeMainAndAfterItAreServed) {
  Outcome o = run_probe("startup");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, kProgramsWords);
  EXPECT_EQ(o.err, "");
}

TEST(Startup, APreloadedLibraryBeforeOursAllocatesInItsConstructorAndDestructor) {
  Command command;
  command.argv = {probe("startup")};
  command.preload_before = early();
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_NE(o.out.find("early library ended\n"), std::string::npos) << o.describe();
  EXPECT_EQ(o.err, "");
}

TEST(Startup, APreloadedLibraryAfterOursAllocatesInItsConstructorAndDestructor) {
  Command command;
  command.argv = {probe("startup")};
  command.preload_after = early();
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_NE(o.out.find("early library ended\n"), std::string::npos) << o.describe();
  EXPECT_EQ(o.err, "");
}

TEST(Startup, BindingEverythingAtStartWorksToo) {
  Command command;
  command.argv = {probe("startup")};
  command.env = {"LD_BIND_NOW=1"};
  command.preload_before = early();
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

class FirstCall : public testing::TestWithParam<const char*> {};

void expect_works_first(const char* name, const char* where) {
  Outcome o = run_probe("first_call", {name, where});
  EXPECT_TRUE(o.exited(0)) << name << " as the first call of a " << where << ": " << o.describe();
}

TEST_P(FirstCall, WorksAsTheFirstCallOfAProcess) { expect_works_first(GetParam(), "process"); }
TEST_P(FirstCall, WorksAsTheFirstCallOfAThread) { expect_works_first(GetParam(), "thread"); }
TEST_P(FirstCall, WorksAsTheFirstCallOfAForkedChild) { expect_works_first(GetParam(), "child"); }

const char* const kExported[] = {"malloc",
                                 "calloc",
                                 "realloc",
                                 "reallocarray",
                                 "free",
                                 "cfree",
                                 "aligned_alloc",
                                 "posix_memalign",
                                 "memalign",
                                 "valloc",
                                 "pvalloc",
                                 "malloc_usable_size",
                                 "free_sized",
                                 "free_aligned_sized",
                                 "reallocf",
                                 "malloc_good_size",
                                 "nallocx",
                                 "sdallocx",
                                 "malloc_trim",
                                 "mallinfo",
                                 "mallinfo2",
                                 "mallopt",
                                 "malloc_stats",
                                 "malloc_info",
                                 "__libc_malloc",
                                 "__libc_calloc",
                                 "__libc_realloc",
                                 "__libc_free",
                                 "__libc_memalign",
                                 "__libc_valloc",
                                 "__libc_pvalloc",
                                 "tri_version",
                                 "tri_active",
                                 "tri_set",
                                 "tri_get",
                                 "tri_stats_get",
                                 "tri_report",
                                 "tri_alloc",
                                 "tri_alloc_at_least",
                                 "tri_realloc",
                                 "tri_expand",
                                 "tri_free",
                                 "tri_free_sized",
                                 "tri_free_batch",
                                 "tri_good_size",
                                 "tri_size",
                                 "tri_base",
                                 "tri_owns",
                                 "tri_purge",
                                 "tri_walk",
                                 "_Znwm",
                                 "_Znam",
                                 "_ZnwmRKSt9nothrow_t",
                                 "_ZnamRKSt9nothrow_t",
                                 "_ZnwmSt11align_val_t",
                                 "_ZnamSt11align_val_t",
                                 "_ZnwmSt11align_val_tRKSt9nothrow_t",
                                 "_ZnamSt11align_val_tRKSt9nothrow_t",
                                 "_ZdlPv",
                                 "_ZdaPv",
                                 "_ZdlPvm",
                                 "_ZdaPvm",
                                 "_ZdlPvRKSt9nothrow_t",
                                 "_ZdaPvRKSt9nothrow_t",
                                 "_ZdlPvSt11align_val_t",
                                 "_ZdaPvSt11align_val_t",
                                 "_ZdlPvmSt11align_val_t",
                                 "_ZdaPvmSt11align_val_t",
                                 "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                                 "_ZdaPvSt11align_val_tRKSt9nothrow_t"};

INSTANTIATE_TEST_SUITE_P(Startup, FirstCall, testing::ValuesIn(kExported),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace tri_test
