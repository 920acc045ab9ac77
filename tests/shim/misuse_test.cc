// misuse_test.cc - Each misuse of free and realloc ends in its own message and SIGABRT, never in silence.
//
// A child per misuse. All that it writes to fd 2 is compared with the one expected line, address, name and process
// number included: users search for these lines, so a word more or less is a change of interface.
#include <gtest/gtest.h>
#include <signal.h>

#include <regex>
#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

struct Misuse {
  const char* name;
  const char*
      text;  // a regular expression; P stands for the pointer, U for the usable size that the child told
};

void PrintTo(const Misuse& m, std::ostream* out) { *out << m.name; }

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

std::string hex(unsigned long value) {
  char text[32];
  snprintf(text, sizeof text, "0x%lx", value);
  return text;
}

// The expected line: {P} the pointer, {P+n} a place behind it, {U} the usable size.
std::string expected_line(const Outcome& child, const char* form) {
  unsigned long pointer = 0;
  size_t usable = 0;
  sscanf(child.out.c_str(), "0x%lx %zu", &pointer, &usable);
  std::string text = replaced(form, "{P}", hex(pointer));
  text = replaced(text, "{U}", std::to_string(usable));
  std::smatch plus;
  while (std::regex_search(text, plus, std::regex("\\{P\\+(\\d+)\\}")))
    text = replaced(text, plus[0], hex(pointer + std::stoul(plus[1])));
  return "tri: " + text + " in misuse\\[" + std::to_string(child.pid) + "\\]\n";
}

class Fatal : public testing::TestWithParam<Misuse> {};

TEST_P(Fatal, MisuseEndsInItsMessageAndAnAbort) {
  Outcome child = run_probe("misuse", {GetParam().name});
  EXPECT_TRUE(child.killed_by(SIGABRT)) << child.describe();
  std::string line = expected_line(child, GetParam().text);
  EXPECT_TRUE(std::regex_match(child.err, std::regex(line)))
      << "wanted " << line << "got " << child.err;
}

#define SMALL "\\(size class 64\\)"
#define LARGE "\\(large block\\)"
const Misuse kFatal[] = {
    {"double_free_16", "double free of {P} \\(size class 16\\)"},
    {"double_free_64", "double free of {P} " SMALL},
    {"double_free_1024", "double free of {P} \\(size class 1024\\)"},
    {"double_free_32768", "double free of {P} \\(size class 32768\\)"},
    {"double_free_large", "double free of {P} " LARGE},
    {"double_free_megabytes", "double free of {P} " LARGE},
    {"double_free_huge", "double free of {P} " LARGE},
    {"double_free_later", "double free of {P} " SMALL},
    {"double_free_between_live_neighbours", "double free of {P} " SMALL},
    {"double_free_from_another_thread", "double free of {P} " SMALL},
    {"double_free_after_another_thread", "double free of {P} " SMALL},
    {"double_free_by_two_other_threads", "double free of {P} " SMALL},
    {"double_free_of_a_dead_threads_block", "double free of {P} " SMALL},
    {"double_free_after_the_span_was_given_back", "double free of {P} " SMALL},
    {"double_free_large_after_trim", "double free of {P} " LARGE},
    {"double_free_after_realloc_to_zero", "double free of {P} " SMALL},
    {"double_free_of_a_block_that_realloc_moved", "double free of {P} " SMALL},
    {"double_delete", "double free of {P} " SMALL},
    {"double_free_aligned", "double free of {P} \\(size class {U}\\)"},
    {"interior_16", "free of interior pointer {P+16} \\(16 bytes into a block of size class 64\\)"},
    {"interior_48", "free of interior pointer {P+48} \\(48 bytes into a block of size class 64\\)"},
    {"interior_512",
     "free of interior pointer {P+512} \\(512 bytes into a block of size class 1024\\)"},
    {"interior_large",
     "free of interior pointer {P+4096} \\(4096 bytes into a large block of {U} bytes\\)"},
    {"interior_large_page",
     "free of interior pointer {P+65536} \\(65536 bytes into a large block of {U} bytes\\)"},
    {"interior_huge",
     "free of interior pointer {P+10485760} \\(10485760 bytes into a large block of {U} bytes\\)"},
    {"interior_deleted",
     "free of interior pointer {P+32} \\(32 bytes into a block of size class 64\\)"},
    {"interior_from_another_thread",
     "free of interior pointer {P+16} \\(16 bytes into a block of size class 64\\)"},
    {"misaligned_3",
     "free of misaligned pointer {P+3} \\(3 bytes into a block of size class 64\\)"},
    {"misaligned_1",
     "free of misaligned pointer {P+1} \\(1 bytes? into a block of size class 1024\\)"},
    {"misaligned_large",
     "free of misaligned pointer {P+3} \\(3 bytes into a large block of {U} bytes\\)"},
    {"never_allocated", "free of {P} which was never allocated \\(size class 128\\)"},
    {"stack_pointer", "free of stack pointer {P}"},
    {"stack_alloca", "free of stack pointer {P}"},
    {"stack_of_a_thread", "free of stack pointer {P}"},
    {"stack_misaligned", "free of stack pointer {P}"},
    {"static_data", "free of static pointer {P} \\(in misuse\\)"},
    {"static_zeroed", "free of static pointer {P} \\(in misuse\\)"},
    {"static_literal", "free of static pointer {P} \\(in misuse\\)"},
    {"static_code", "free of static pointer {P} \\(in misuse\\)"},
    {"static_of_libc", "free of static pointer {P} \\(in libc\\.so\\.6\\)"},
    {"wild_low", "free of wild pointer {P} \\(nothing is mapped there\\)"},
    {"wild_middle", "free of wild pointer {P} \\(nothing is mapped there\\)"},
    {"wild_noncanonical", "free of wild pointer {P} \\(nothing is mapped there\\)"},
    {"wild_kernel", "free of wild pointer {P} \\(nothing is mapped there\\)"},
    {"wild_top", "free of wild pointer {P} \\(nothing is mapped there\\)"},
    {"wild_unmapped", "free of wild pointer {P} \\(nothing is mapped there\\)"},
    {"wrong_size_free_sized", "free of {P} with wrong size 200 " SMALL},
    {"wrong_size_small", "free of {P} with wrong size 10 " SMALL},
    {"wrong_size_delete", "free of {P} with wrong size 200 " SMALL},
    {"wrong_size_delete_array", "free of {P} with wrong size 200 " SMALL},
    {"wrong_size_of_large", "free of {P} with wrong size 200 \\(large block.*\\)"},
    {"wrong_size_large_of_small", "free of {P} with wrong size 100000 " SMALL},
    {"wrong_size_aligned", "free of {P} with wrong size 200 " SMALL},
    {"wrong_size_delete_aligned", "free of {P} with wrong size 200 " SMALL},
    {"written_link", "block {P} was written after it was freed " SMALL},
    {"written_whole", "block {P} was written after it was freed " SMALL},
    {"written_link_then_frees", "block {P} was written after it was freed " SMALL},
    {"written_counter", "block {P} was written after it was freed " SMALL},
    {"written_one_byte", "block {P} was written after it was freed " SMALL},
    {"realloc_freed", "realloc of freed block {P} " SMALL},
    {"realloc_freed_large", "realloc of freed block {P} " LARGE},
    {"realloc_interior",
     "realloc of interior pointer {P+16} \\(16 bytes into a block of size class 64\\)"},
    {"realloc_interior_large",
     "realloc of interior pointer {P+4096} \\(4096 bytes into a large block of {U} bytes\\)"},
    {"realloc_misaligned",
     "realloc of misaligned pointer {P+3} \\(3 bytes into a block of size class 64\\)"},
    {"realloc_static", "realloc of static pointer {P} \\(in misuse\\)"},
    {"realloc_wild", "realloc of wild pointer {P} \\(nothing is mapped there\\)"},
    {"realloc_stack", "realloc of stack pointer {P}"}};

INSTANTIATE_TEST_SUITE_P(Misuse, Fatal, testing::ValuesIn(kFatal),
                         [](const auto& one) { return std::string(one.param.name); });
#undef SMALL
#undef LARGE

class Foreign : public testing::TestWithParam<Misuse> {};

TEST_P(Foreign, APointerOfAnotherAllocatorIsReportedOnceAndTheProgramGoesOn) {
  Outcome child = run_probe("misuse", {GetParam().name});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  std::string line = expected_line(child, GetParam().text);
  EXPECT_TRUE(std::regex_match(child.err, std::regex(line)))
      << "wanted " << line << "got " << child.err;
}

#define PASSED_ON "{P} \\(passed on to the next allocator\\)"
#define LEFT_ALONE "{P} \\(left alone\\)"
const Misuse kForeign[] = {
    {"foreign_libc", "free of foreign pointer " PASSED_ON},
    {"foreign_libc_comes_back", "free of foreign pointer " PASSED_ON},
    {"foreign_realloc", "realloc of foreign pointer " PASSED_ON},
    // Nobody behind us is known to want these, and libc's allocator would follow them.
    {"foreign_other_namespace", "free of foreign pointer " LEFT_ALONE},
    {"foreign_mapping", "free of foreign pointer " LEFT_ALONE},
};
#undef PASSED_ON
#undef LEFT_ALONE

INSTANTIATE_TEST_SUITE_P(Misuse, Foreign, testing::ValuesIn(kForeign),
                         [](const auto& one) { return std::string(one.param.name); });

class CheckOff : public testing::TestWithParam<const char*> {};

TEST_P(CheckOff, WithChecksOffTheMisuseIsIgnoredAndNoBlockGetsTwoOwners) {
  Outcome child = run_probe("misuse", {GetParam()}, {"TRI=check:off"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
}

const char* const kIgnored[] = {"double_free_16",
                                "double_free_64",
                                "double_free_1024",
                                "double_free_32768",
                                "double_free_large",
                                "double_free_megabytes",
                                "double_free_huge",
                                "double_free_later",
                                "double_free_between_live_neighbours",
                                "double_free_from_another_thread",
                                "double_free_after_another_thread",
                                "double_free_by_two_other_threads",
                                "double_free_of_a_dead_threads_block",
                                "double_free_after_the_span_was_given_back",
                                "double_free_large_after_trim",
                                "double_delete",
                                "double_free_aligned",
                                "interior_16",
                                "interior_48",
                                "interior_512",
                                "interior_large",
                                "interior_huge",
                                "interior_from_another_thread",
                                "misaligned_3",
                                "misaligned_1",
                                "misaligned_large",
                                "never_allocated",
                                "stack_pointer",
                                "stack_of_a_thread",
                                "static_data",
                                "static_zeroed",
                                "static_literal",
                                "wild_low",
                                "wild_middle",
                                "wild_noncanonical",
                                "wild_kernel",
                                "wild_top",
                                "wild_unmapped",
                                "foreign_libc",
                                "foreign_mapping",

                                "wrong_size_free_sized",
                                "wrong_size_delete",
                                "wrong_size_of_large",
                                "realloc_freed",
                                "realloc_interior",
                                "realloc_wild"};

INSTANTIATE_TEST_SUITE_P(Misuse, CheckOff, testing::ValuesIn(kIgnored),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace tri_test
