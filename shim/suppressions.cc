// suppressions.cc - See suppressions.h.
#include "shim/suppressions.h"

#include <errno.h>

#include <cstring>

#include "alloc/base/line_reader.h"
#include "alloc/base/print.h"
#include "alloc/modules.h"
#include "alloc/persistent.h"
#include "alloc/symbols.h"

namespace tri {
namespace {

struct Suppression {
  Suppression* next;
  char pattern[];
};
// Added to by who sets options; read by reports.
constinit std::atomic<Suppression*> suppressions{nullptr};

bool add(const char* pattern) {
  const size_t length = strlen(pattern) + 1;
  auto* const s = static_cast<Suppression*>(persistent::alloc(sizeof(Suppression) + length, alignof(Suppression)));
  if (s == nullptr) return false;
  memcpy(s->pattern, pattern, length);
  s->next = suppressions.load(std::memory_order_relaxed);
  suppressions.store(s, std::memory_order_release);
  return true;
}

bool any_matches(const char* text) {
  for (const Suppression* s = suppressions.load(std::memory_order_acquire); s != nullptr; s = s->next) {
    if (matches(s->pattern, text)) return true;
  }
  return false;
}

/// Whether text begins with what the pattern says, and ends with it if there is a $.
bool matches_here(const char* p, const char* text) {
  // Of several stars only the last has to be tried again.
  const char* star = nullptr;
  const char* again = nullptr;
  for (;;) {
    if (*p == 0 || (p[0] == '$' && p[1] == 0 && *text == 0)) return true;
    if (*p == '*') {
      star = ++p;
      again = text;
    } else if (*text != 0 && *p == *text) {
      ++p;
      ++text;
    } else if (star != nullptr && *again != 0) {
      p = star;
      text = ++again;
    } else {
      return false;
    }
  }
}

}  // namespace

bool matches(const char* pattern, const char* text) {
  if (*pattern == '^') return matches_here(pattern + 1, text);
  for (;; ++text) {
    if (matches_here(pattern, text)) return true;
    if (*text == 0) return false;
  }
}

int add_suppressions(const char* path) {
  const auto complain = [path](uint64_t line_number, const char* text) {
    Line line;
    line.text("tri: suppressions ").text(path);
    if (line_number != 0) line.text(":").number(line_number);
    line.text(": ").text(text).text("\n").write_to(2);
  };
  LineReader file(path);
  if (!file.is_open()) {
    complain(0, strerrorname_np(-file.error()));
    return file.error();
  }
  uint64_t number = 0;
  while (char* text = file.next()) {
    ++number;
    while (*text == ' ' || *text == '\t') ++text;
    size_t length = strlen(text);
    while (length != 0 && strchr(" \t\r", text[length - 1]) != nullptr) text[--length] = 0;
    if (length == 0 || *text == '#') continue;
    if (strncmp(text, "leak:", 5) != 0 || length == 5) {
      complain(number, "not 'leak:PATTERN'");
      return -EINVAL;
    }
    if (!add(text + 5)) {
      complain(number, "there is no memory for it");
      return -ENOMEM;
    }
  }
  return 0;
}

bool any_suppressions() { return suppressions.load(std::memory_order_acquire) != nullptr; }

bool is_suppressed(sites::Site site) {
  if (site == 0 || !any_suppressions()) return false;
  sites::Frame frames[sites::kMostFrames];
  const size_t n = sites::frames(site, frames);
  for (size_t i = 0; i < n; ++i) {
    const Origin* const file = Modules::origin(frames[i].origin);
    if (file == nullptr) continue;
    Symbol symbol;
    if (any_matches(file->path) || (find_symbol(*file, frames[i].offset, &symbol) && any_matches(symbol.name)))
      return true;
  }
  return false;
}

}  // namespace tri
