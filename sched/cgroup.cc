// cgroup.cc - See cgroup.h.
#include "sched/cgroup.h"

#include <climits>
#include <cstdint>
#include <cstring>

#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"

namespace tri::sched {
namespace {

constexpr size_t kFileBytes = 64 * 1024;
constexpr size_t kPathBytes = 512;
constexpr int64_t kMost = INT64_MAX / 2;

/// A word of a line, by its number; empty if there are fewer.
struct Word {
  const char* data = "";
  size_t size = 0;
  bool is(const char* s) const { return strlen(s) == size && memcmp(s, data, size) == 0; }
};

Word word_of(const char* line, const char* end, int n) {
  const char* p = line;
  for (;;) {
    const char* const start = p;
    while (p < end && *p != ' ') ++p;
    if (n-- == 0) return {start, static_cast<size_t>(p - start)};
    if (p == end) return {};
    ++p;
  }
}

/// True if `name` is one of the comma-separated words.
bool lists(const char* data, const char* end, const char* name) {
  const size_t n = strlen(name);
  for (const char* p = data; p < end;) {
    const char* q = p;
    while (q < end && *q != ',') ++q;
    if (static_cast<size_t>(q - p) == n && memcmp(p, name, n) == 0) return true;
    p = q + 1;
  }
  return false;
}

template <class Fn>
void each_line(char* text, Fn&& fn) {
  for (char* p = text; *p != 0;) {
    char* const newline = strchr(p, '\n');
    char* const end = newline == nullptr ? p + strlen(p) : newline;
    fn(p, end);
    if (newline == nullptr) return;
    p = newline + 1;
  }
}

/// A number at *p, kMost at most, or -1 ("max", "-1"); *p moves on.
int64_t number_at(const char** p) {
  while (**p == ' ') ++*p;
  if (**p < '0' || **p > '9') return -1;
  int64_t n = 0;
  for (; **p >= '0' && **p <= '9'; ++*p) n = n < kMost / 10 ? n * 10 + (**p - '0') : kMost;
  return n;
}

int64_t read_number(const char* folder, const char* file, const char** rest, char* buffer, size_t size) {
  Line path;
  path.text(folder).text(file).text("", 1);
  if (tri::os::read_file(path.data(), buffer, size) <= 0) return -1;
  const char* p = buffer;
  const int64_t n = number_at(&p);
  *rest = p;
  return n;
}

/// The quota of one group as processors, rounded up; 0: none.
int quota_of(const char* folder, bool is_v2) {
  char buffer[128];
  char buffer2[128];
  const char* rest = "";
  int64_t quota;
  int64_t period;
  if (is_v2) {
    quota = read_number(folder, "/cpu.max", &rest, buffer, sizeof buffer);
    period = number_at(&rest);
  } else {
    quota = read_number(folder, "/cpu.cfs_quota_us", &rest, buffer, sizeof buffer);
    period = read_number(folder, "/cpu.cfs_period_us", &rest, buffer2, sizeof buffer2);
  }
  if (quota <= 0 || period <= 0) return 0;
  const int64_t n = (quota - 1) / period + 1;
  return n < INT_MAX ? static_cast<int>(n) : INT_MAX;
}

int lesser(int a, int b) { return a == 0 ? b : b == 0 || a < b ? a : b; }

/// A group's path as seen from a mount that begins at `inside` of the hierarchy. Of a group elsewhere nothing can be seen but what the
/// mount's own root says.
Word path_below(const Word& inside, const Word& path) {
  if (inside.size <= 1) return path;
  if (path.size < inside.size || memcmp(path.data, inside.data, inside.size) != 0) return {};
  if (path.size > inside.size && path.data[inside.size] != '/') return {};
  return {path.data + inside.size, path.size - inside.size};
}

/// The least quota of the group at mount + path and of all above it.
int quota_along(const char* root, const Word& mount, const Word& path, bool is_v2) {
  char folder[kPathBytes];
  const size_t root_size = strlen(root);
  if (root_size + mount.size + path.size + 1 > sizeof folder) return 0;
  memcpy(folder, root, root_size);
  memcpy(folder + root_size, mount.data, mount.size);
  memcpy(folder + root_size + mount.size, path.data, path.size);
  size_t end = root_size + mount.size + path.size;
  const size_t least = root_size + mount.size;
  int quota = 0;
  for (;;) {
    while (end > least && folder[end - 1] == '/') --end;
    folder[end] = 0;
    quota = lesser(quota, quota_of(folder, is_v2));
    if (end <= least) return quota;
    while (end > least && folder[end - 1] != '/') --end;
  }
}

}  // namespace

int cgroup_quota(const char* root) {
  auto* const groups = static_cast<char*>(allocate(2 * kFileBytes));
  if (groups == nullptr) return 0;
  char* const mounts = groups + kFileBytes;
  Line name;
  name.text(root).text("/proc/self/cgroup").text("", 1);
  long n = tri::os::read_file(name.data(), groups, kFileBytes);
  name.clear();
  name.text(root).text("/proc/self/mountinfo").text("", 1);
  if (n > 0) n = tri::os::read_file(name.data(), mounts, kFileBytes);
  int quota = 0;
  if (n > 0) {
    each_line(groups, [&](const char* line, const char* end) {
      // "4:cpu,cpuacct:/path" of version 1, "0::/path" of version 2.
      const auto* const first = static_cast<const char*>(memchr(line, ':', static_cast<size_t>(end - line)));
      if (first == nullptr) return;
      const auto* const second = static_cast<const char*>(memchr(first + 1, ':', static_cast<size_t>(end - first - 1)));
      if (second == nullptr) return;
      const bool is_v2 = second == first + 1;
      if (!is_v2 && !lists(first + 1, second, "cpu")) return;
      const Word path{second + 1, static_cast<size_t>(end - second - 1)};
      each_line(mounts, [&](const char* mount, const char* mount_end) {
        // "36 35 98:0 /root /mount options optional... - type source options"
        const char* const dash = strstr(mount, " - ");
        if (dash == nullptr || dash > mount_end) return;
        const Word type = word_of(dash + 3, mount_end, 0);
        if (!type.is(is_v2 ? "cgroup2" : "cgroup")) return;
        const Word options = word_of(dash + 3, mount_end, 2);
        if (!is_v2 && !lists(options.data, options.data + options.size, "cpu")) return;
        const Word inside = word_of(mount, mount_end, 3);
        const Word at = word_of(mount, mount_end, 4);
        quota = lesser(quota, quota_along(root, at, path_below(inside, path), is_v2));
      });
    });
  }
  deallocate(groups);
  return quota;
}

}  // namespace tri::sched
