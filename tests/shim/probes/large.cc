// large.cc - Large blocks and the resident memory that they cost.
//
//   large calloc|grow|shrink|churn|nothing
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

constexpr size_t kMiB = 1u << 20;
constexpr size_t kGiB = 1u << 30;

void fresh_calloc() {
  long before = rss_kib();
  auto* p = static_cast<char*>(calloc(1, kGiB));
  require(p != nullptr, "a gibibyte");
  require(rss_kib() - before < 1024, "calloc does not touch fresh memory");
  for (size_t at = 0; at < kGiB; at += kGiB / 64) require(p[at] == 0, "zeroed memory");
  p[kGiB - 1] = 1;
  free(p);
  require(rss_kib() - before < 8 * 1024, "free of a gibibyte");
  // The same in many pieces, so that the piece's place in an arena does not matter.
  before = rss_kib();
  void* pieces[64];
  for (auto& piece : pieces) piece = calloc(1, 16 * kMiB);
  require(rss_kib() - before < 4 * 1024, "calloc of 64 times 16 MiB does not touch fresh memory");
  for (auto* piece : pieces) free(piece);
}

long peak_rss_kib() { return proc_number("/proc/self/status", "\nVmHWM:"); }

void forget_peak() {
  int fd = open("/proc/self/clear_refs", O_WRONLY);
  require(fd >= 0 && write(fd, "5", 1) == 1, "the peak can be reset");
  close(fd);
}

void grow() {
  forget_peak();
  long before = rss_kib();
  char* p = nullptr;
  size_t size = 0;
  while (size < 512 * kMiB) {
    size_t larger = size + 64 * kMiB;
    p = static_cast<char*>(realloc(p, larger));
    require(p != nullptr, "a larger block");
    memset(p + size, static_cast<int>(larger / (64 * kMiB)), 64 * kMiB);
    size = larger;
  }
  for (size_t at = 0; at < size; at += 4096)
    require(p[at] == static_cast<char>(at / (64 * kMiB) + 1), "the content moved along");
  // Copied, the last step alone would need the old 448 MiB beside the new 512.
  require(peak_rss_kib() - before < static_cast<long>(640 * kMiB / 1024),
          "no second copy while the block grew");
  free(p);
}

void shrink() {
  long before = rss_kib();
  auto* p = static_cast<char*>(malloc(256 * kMiB));
  memset(p, 1, 256 * kMiB);
  p = static_cast<char*>(realloc(p, 16 * kMiB));
  require(p != nullptr, "a smaller block");
  require(rss_kib() - before < static_cast<long>(64 * kMiB / 1024), "the tail went back");
  for (size_t at = 0; at < 16 * kMiB; at += 4096) require(p[at] == 1, "the head stayed");
  free(p);
}

void churn() {
  long before = rss_kib();
  for (size_t i = 0; i < 400; ++i) {
    size_t size = (1 + i % 40) * kMiB;
    auto* p = static_cast<char*>(malloc(size));
    for (size_t at = 0; at < size; at += 4096) p[at] = 1;
    free(p);
  }
  require(rss_kib() - before < static_cast<long>(160 * kMiB / 1024),
          "blocks of up to 40 MiB, one at a time");
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 2, "large calloc|grow|shrink|churn|nothing");
  if (strcmp(argv[1], "calloc") == 0) fresh_calloc();
  if (strcmp(argv[1], "grow") == 0) grow();
  if (strcmp(argv[1], "shrink") == 0) shrink();
  if (strcmp(argv[1], "churn") == 0) churn();
  if (strcmp(argv[1], "nothing") == 0) {
    printf("hello\n");
    require(rss_kib() < 8 * 1024, "a program that does nothing stays below 8 MiB");
    return 0;
  }
  say("worked\n");
  return 0;
}
