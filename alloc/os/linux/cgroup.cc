// cgroup.cc - See os/cgroup.h.
#include "alloc/os/cgroup.h"

#include <cstring>

#include "alloc/base/line_reader.h"
#include "alloc/base/print.h"
#include "alloc/os/os.h"

namespace tri::os {
namespace {

constexpr size_t kPathBytes = 2048;
// What version 1 says for "no limit" is the largest multiple of a page: no machine has half of that.
constexpr uint64_t kMost = uint64_t{1} << 62;

struct Text {
  const char* data = "";
  size_t size = 0;
  bool is(const char* s) const { return strlen(s) == size && memcmp(s, data, size) == 0; }
  /// True if `name` is one of the comma-separated words.
  bool lists(const char* name) const {
    for (size_t at = 0; at < size;) {
      const void* const comma = memchr(data + at, ',', size - at);
      const size_t end = comma == nullptr ? size : static_cast<size_t>(static_cast<const char*>(comma) - data);
      if (Text{data + at, end - at}.is(name)) return true;
      at = end + 1;
    }
    return false;
  }
};

/// The word number n of a line, from 0; empty if there are fewer.
Text word(const char* line, int n) {
  for (;; ++line) {
    const size_t size = strcspn(line, " ");
    if (n-- == 0) return {line, size};
    line += size;
    if (*line == 0) return {};
  }
}

uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/// The number in folder/file; UINT64_MAX if there is none ("max"), or no such file.
uint64_t read_limit(const char* folder, const char* file) {
  char path[kPathBytes + 64];
  const size_t n = strlen(folder);
  memcpy(path, folder, n);
  memcpy(path + n, file, strlen(file) + 1);
  char text[64];
  const long length = read_file(path, text, sizeof text - 1);
  if (length <= 0) return UINT64_MAX;
  uint64_t bytes = 0;
  long digits = 0;
  for (; digits < length && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    bytes = bytes < kMost / 10 ? bytes * 10 + static_cast<uint64_t>(text[digits] - '0') : kMost;
  }
  return digits == 0 || bytes >= kMost ? UINT64_MAX : bytes;
}

uint64_t limit_of(const char* folder, bool is_v2) {
  if (!is_v2) return read_limit(folder, "/memory.limit_in_bytes");
  return least(read_limit(folder, "/memory.max"), read_limit(folder, "/memory.high"));
}

/// A group's path as seen from a mount that begins at `inside` of the hierarchy. Of a group elsewhere nothing can be seen but what the
/// mount's own root says.
Text path_below(const Text& inside, const Text& path) {
  if (inside.size <= 1) return path;
  if (path.size < inside.size || memcmp(path.data, inside.data, inside.size) != 0) return {};
  if (path.size > inside.size && path.data[inside.size] != '/') return {};
  return {path.data + inside.size, path.size - inside.size};
}

/// The least limit of the group at root + mount + path, and of all above it up to the mount.
uint64_t limit_along(const char* root, const Text& mount, const Text& path, bool is_v2) {
  char folder[kPathBytes];
  const size_t top = strlen(root) + mount.size;
  if (top + path.size + 1 > sizeof folder) return UINT64_MAX;
  memcpy(folder, root, strlen(root));
  memcpy(folder + strlen(root), mount.data, mount.size);
  memcpy(folder + top, path.data, path.size);
  uint64_t limit = UINT64_MAX;
  for (size_t end = top + path.size;;) {
    while (end > top && folder[end - 1] == '/') --end;
    folder[end] = 0;
    limit = least(limit, limit_of(folder, is_v2));
    if (end <= top) return limit;
    while (end > top && folder[end - 1] != '/') --end;
  }
}

/// The least limit of one line of /proc/self/cgroup: "4:memory:/path" of version 1, "0::/path" of version 2.
uint64_t limit_of_line(const char* root, const char* line) {
  const char* const first = strchr(line, ':');
  const char* const second = first == nullptr ? nullptr : strchr(first + 1, ':');
  if (second == nullptr) return UINT64_MAX;
  const bool is_v2 = second == first + 1;
  if (!is_v2 && !Text{first + 1, static_cast<size_t>(second - first - 1)}.lists("memory")) return UINT64_MAX;
  const Text path = {second + 1, strlen(second + 1)};
  Line name;
  name.text(root).text("/proc/self/mountinfo").text("", 1);
  LineReader mounts(name.data());
  if (!mounts.is_open()) return UINT64_MAX;
  uint64_t limit = UINT64_MAX;
  while (const char* mount = mounts.next()) {
    // "36 35 98:0 /root /mount options optional... - type source options"
    const char* const dash = strstr(mount, " - ");
    if (dash == nullptr || !word(dash + 3, 0).is(is_v2 ? "cgroup2" : "cgroup")) continue;
    if (!is_v2 && !word(dash + 3, 2).lists("memory")) continue;
    limit = least(limit, limit_along(root, word(mount, 4), path_below(word(mount, 3), path), is_v2));
  }
  return limit;
}

}  // namespace

uint64_t cgroup_memory_limit(const char* root) {
  Line name;
  name.text(root).text("/proc/self/cgroup").text("", 1);
  LineReader groups(name.data());
  if (!groups.is_open()) return UINT64_MAX;
  uint64_t limit = UINT64_MAX;
  while (const char* line = groups.next()) limit = least(limit, limit_of_line(root, line));
  return limit;
}

uint64_t machine_memory(const char* root) {
  Line name;
  name.text(root).text("/proc/meminfo").text("", 1);
  LineReader lines(name.data());
  if (!lines.is_open()) return UINT64_MAX;
  while (const char* line = lines.next()) {
    if (strncmp(line, "MemTotal:", 9) != 0) continue;
    const char* p = line + 9;
    while (*p == ' ') ++p;
    uint64_t kib = 0;
    for (; *p >= '0' && *p <= '9'; ++p) kib = kib * 10 + static_cast<uint64_t>(*p - '0');
    return kib == 0 ? UINT64_MAX : kib * 1024;
  }
  return UINT64_MAX;
}

}  // namespace tri::os
