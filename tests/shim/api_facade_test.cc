// api_facade_test.cc - glibc's own questions (mallinfo, malloc_info, malloc_stats, malloc_trim, mallopt) get true answers.
//
// Programs decide by these numbers: servers call malloc_trim when idle, monitors plot uordblks. Zeros would be
// worse than an error.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

constexpr size_t kMiB = 1u << 20;

size_t in_use() {
  struct mallinfo2 m = mallinfo2();
  return m.uordblks + m.hblkhd;
}

std::vector<void*> many(size_t size, size_t count) {
  std::vector<void*> blocks(count);
  for (auto& p : blocks) {
    p = malloc(size);
    memset(p, 1, size);
  }
  return blocks;
}

void free_all(std::vector<void*>& blocks) {
  for (void* p : blocks) free(p);
  blocks.clear();
}

std::string malloc_info_text() {
  char* text = nullptr;
  size_t size = 0;
  FILE* stream = open_memstream(&text, &size);
  EXPECT_EQ(malloc_info(0, stream), 0);
  fclose(stream);
  std::string result(text, size);
  free(text);
  return result;
}

// Enough of XML to tell a document from a text: tags balance, attributes are quoted, one root, nothing behind it.
std::string xml_fault(const std::string& text) {
  std::vector<std::string> open;
  bool root_seen = false;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '<') {
      if (open.empty() && !isspace(static_cast<unsigned char>(text[at])))
        return "text outside the root";
      if (text[at] == '>' || text[at] == '&') return "a bare " + std::string(1, text[at]);
      ++at;
      continue;
    }
    size_t end = text.find('>', at);
    if (end == std::string::npos) return "a tag does not end";
    std::string tag = text.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.empty()) return "an empty tag";
    if (tag[0] == '?') continue;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1))
        return "unexpected </" + tag.substr(1) + ">";
      open.pop_back();
      continue;
    }
    bool alone = tag.back() == '/';
    if (alone) tag.pop_back();
    size_t name_end = tag.find_first_of(" \n\t");
    std::string name = tag.substr(0, name_end);
    size_t quotes = 0;
    size_t equals = 0;
    for (char c : tag) {
      quotes += c == '"';
      equals += c == '=';
      if (c == '<') return "a < inside <" + name + ">";
    }
    if (quotes != 2 * equals) return "an attribute of <" + name + "> is not quoted";
    if (open.empty()) {
      if (root_seen) return "a second root <" + name + ">";
      root_seen = true;
    }
    if (!alone) open.push_back(name);
  }
  if (!open.empty()) return "<" + open.back() + "> is not closed";
  return root_seen ? "" : "no root";
}

// The last size="..." of a tag that begins with `head`: glibc writes the totals last.
size_t last_size(const std::string& text, const std::string& head) {
  size_t at = text.rfind(head);
  if (at == std::string::npos) return 0;
  size_t size = text.find("size=\"", at);
  return size == std::string::npos ? 0 : std::stoull(text.substr(size + 6));
}

TEST(ApiFacade, Mallinfo2CountsSmallBlocksAsTheyComeAndGo) {
  size_t before = in_use();
  auto blocks = many(500, 20000);
  size_t grown = in_use() - before;
  EXPECT_GE(grown, 20000u * 500);
  EXPECT_LE(grown, 20000u * 500 * 5 / 4 + kMiB);
  free_all(blocks);
  EXPECT_LE(in_use(), before + kMiB);
}

TEST(ApiFacade, Mallinfo2CountsLargeBlocksAsTheyComeAndGo) {
  for (size_t size : {100000 * size_t{1}, 3 * kMiB, 100 * kMiB}) {
    size_t before = in_use();
    void* p = malloc(size);
    memset(p, 1, 1);
    size_t grown = in_use() - before;
    EXPECT_GE(grown, size);
    EXPECT_LE(grown, size * 9 / 8 + 64 * 1024);
    free(p);
    EXPECT_LE(in_use(), before + 64 * 1024);
  }
}

TEST(ApiFacade, Mallinfo2sPartsAddUp) {
  auto blocks = many(1000, 5000);
  for (size_t i = 0; i < blocks.size(); i += 2) {
    free(blocks[i]);
    blocks[i] = nullptr;
  }
  struct mallinfo2 m = mallinfo2();
  EXPECT_GT(m.arena, 0u);
  EXPECT_EQ(m.uordblks + m.fordblks, m.arena) << "glibc's identity: used + free = obtained";
  EXPECT_GT(m.uordblks, 2500u * 1000);
  free_all(blocks);
}

TEST(ApiFacade, MallinfoIsMallinfo2InInts) {
  void* p = malloc(50 * kMiB);
  struct mallinfo2 wide = mallinfo2();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  struct mallinfo narrow = mallinfo();
#pragma GCC diagnostic pop
  EXPECT_EQ(static_cast<size_t>(narrow.uordblks), wide.uordblks);
  EXPECT_EQ(static_cast<size_t>(narrow.hblkhd), wide.hblkhd);
  EXPECT_EQ(static_cast<size_t>(narrow.arena), wide.arena);
  free(p);
}

TEST(ApiFacade, MallocInfoWritesWellFormedXml) {
  auto blocks = many(300, 1000);
  std::string text = malloc_info_text();
  EXPECT_EQ(text.rfind("<malloc version=\"1\">", 0), 0u) << text.substr(0, 200);
  EXPECT_EQ(xml_fault(text), "") << text;
  free_all(blocks);
}

TEST(ApiFacade, MallocInfoTellsHowMuchMemoryTheHeapHas) {
  auto total = [](const std::string& t) {
    return last_size(t, "<system type=\"current\"") + last_size(t, "<total type=\"mmap\"");
  };
  size_t before = total(malloc_info_text());
  auto blocks = many(1000, 64 * kMiB / 1000);
  size_t after = total(malloc_info_text());
  EXPECT_GE(after, before + 60 * kMiB) << malloc_info_text();
  EXPECT_LE(after, before + 90 * kMiB) << malloc_info_text();
  free_all(blocks);
}

TEST(ApiFacade, MallocInfoRefusesUnknownOptions) { EXPECT_NE(malloc_info(1, stderr), 0); }

TEST(ApiFacade, MallocStatsWritesToStderrOnly) {
  void* p = malloc(123 * kMiB);
  int err = memfd_create("stderr", 0);
  int out = memfd_create("stdout", 0);
  fflush(nullptr);
  int old_out = dup(1);
  int old_err = dup(2);
  dup2(out, 1);
  dup2(err, 2);
  malloc_stats();
  fflush(nullptr);
  dup2(old_out, 1);
  dup2(old_err, 2);
  off_t err_size = lseek(err, 0, SEEK_END);
  off_t out_size = lseek(out, 0, SEEK_END);
  char text[8192] = {};
  ssize_t got = pread(err, text, sizeof text - 1, 0);
  for (int fd : {err, out, old_out, old_err}) close(fd);
  free(p);
  EXPECT_EQ(out_size, 0);
  EXPECT_GT(err_size, 0);
  ASSERT_GT(got, 0);
  EXPECT_NE(strpbrk(text, "123456789"), nullptr) << text;
}

TEST(ApiFacade, MallocTrimGivesFreeMemoryBackAndSaysSo) {
  long base = rss_kib();
  auto blocks = many(700, 100 * kMiB / 700);
  long peak = rss_kib();
  ASSERT_GT(peak, base + 90 * 1024);
  free_all(blocks);
  blocks.shrink_to_fit();
  EXPECT_EQ(malloc_trim(0), 1);
  long left = rss_kib() - base;
  EXPECT_LT(left, (peak - base) / 10) << "KiB left of " << peak - base;
}

TEST(ApiFacade, MallocTrimKeepsLiveBlocksWhole) {
  auto blocks = many(900, 50000);
  for (size_t i = 0; i < blocks.size(); ++i) {
    fill(blocks[i], 900, i);
    if (i % 3 != 0) {
      free(blocks[i]);
      blocks[i] = nullptr;
    }
  }
  malloc_trim(0);
  for (size_t i = 0; i < blocks.size(); i += 3) ASSERT_TRUE(holds(blocks[i], 900, i));
  free_all(blocks);
}

TEST(ApiFacade, MalloptAcceptsWhatGlibcAccepts) {
  EXPECT_EQ(mallopt(M_TRIM_THRESHOLD, 1 << 20), 1);
  EXPECT_EQ(mallopt(M_TOP_PAD, 1 << 16), 1);
  EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
  EXPECT_EQ(mallopt(M_MMAP_MAX, 100), 1);
  EXPECT_EQ(mallopt(M_PERTURB, 0), 1);
  EXPECT_EQ(mallopt(M_ARENA_TEST, 4), 1);
  EXPECT_EQ(mallopt(M_ARENA_MAX, 2), 1);
  EXPECT_EQ(mallopt(M_MXFAST, 64), 1);
  void* p = malloc(100);
  EXPECT_NE(p, nullptr);
  free(p);
}

}  // namespace
}  // namespace tri_test
