// options.cc - See options.h. The table below is the one place that knows the keys.
#include "shim/options.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/mheap.h"
#include "alloc/misuse.h"
#include "alloc/os/cgroup.h"
#include "alloc/sampler.h"
#include "alloc/scavenger.h"
#include "gc/gc.h"
#include "gc/quarantine.h"
#include "sched/preempt.h"
#include "sched/proc.h"
#include "sched/stack.h"
#include "sched/trace.h"
#include "shim/report_signal.h"
#include "shim/suppressions.h"

namespace tri {

constinit Options options;

namespace {

constinit int kept_stderr = -1;
constinit bool options_are_read = false;

struct Text {
  const char* data;
  size_t size;

  bool is(const char* s) const { return strlen(s) == size && memcmp(s, data, size) == 0; }
  bool copy_to(char* to, size_t room) const {
    if (size >= room) return false;
    memcpy(to, data, size);
    to[size] = 0;
    return true;
  }
};

struct Option {
  const char* key;
  const char* values;  // for people
  const char* meaning;
  bool (*set)(const Text& value);
  void (*get)(Line& out);
};

bool set_bool(const Text& value, bool* out) {
  if (!value.is("on") && !value.is("off")) return false;
  *out = value.is("on");
  return true;
}

const char* on_off(bool b) { return b ? "on" : "off"; }

constexpr const char* kLeakChecks[] = {"off", "on", "fail"};

bool set_leaks(const Text& value) {
  for (size_t i = 0; i < std::size(kLeakChecks); ++i) {
    if (!value.is(kLeakChecks[i])) continue;
    options.leaks = static_cast<LeakCheck>(i);
    return true;
  }
  return false;
}

/// From now on allocations have their sites noted.
void note_sites() {
  if (sampler::switch_on()) return;
  Line line;
  line.text("tri: leaks: there is no memory to note where blocks are allocated\n").write_to(2);
}

bool set_suppress(const Text& value) {
  return value.size != 0 && value.copy_to(options.suppress, sizeof options.suppress) &&
         add_suppressions(options.suppress) == 0;
}

/// "1s", "250ms", "2" (seconds).
bool parse_time(const Text& value, int64_t* ns) {
  int64_t n = 0;
  size_t i = 0;
  for (; i < value.size && value.data[i] >= '0' && value.data[i] <= '9'; ++i) {
    if (n > 1'000'000) return false;
    n = n * 10 + (value.data[i] - '0');
  }
  if (i == 0) return false;
  const Text unit{value.data + i, value.size - i};
  if (unit.is("ms")) {
    *ns = n * 1'000'000;
  } else if (unit.is("s") || unit.size == 0) {
    *ns = n * 1'000'000'000;
  } else {
    return false;
  }
  return *ns > 0;
}

bool set_purge(const Text& value) {
  int64_t ns = 0;
  if (value.is("now")) {
    ns = scavenger::kPurgeNow;
  } else if (value.is("never")) {
    ns = scavenger::kPurgeNever;
  } else if (!parse_time(value, &ns)) {
    return false;
  }
  scavenger::set_half_life(ns);
  return true;
}

void get_purge(Line& out) {
  const int64_t ns = scavenger::half_life();
  if (ns == scavenger::kPurgeNow) {
    out.text("now");
  } else if (ns == scavenger::kPurgeNever) {
    out.text("never");
  } else if (ns % 1'000'000'000 == 0) {
    out.number(ns / 1'000'000'000).text("s");
  } else {
    out.number(ns / 1'000'000).text("ms");
  }
}

bool set_check(const Text& value) {
  if (!value.is("basic") && !value.is("off")) return false;
  misuse::set_enabled(value.is("basic"));
  return true;
}

bool set_thp(const Text& value) {
  if (value.is("auto")) {
    heap.set_huge_pages(HugePages::kAuto);
  } else if (value.is("always")) {
    heap.set_huge_pages(HugePages::kAlways);
  } else if (value.is("never")) {
    heap.set_huge_pages(HugePages::kNever);
  } else {
    return false;
  }
  return true;
}

void get_thp(Line& out) {
  static constexpr const char* kNames[] = {"auto", "always", "never"};
  out.text(kNames[static_cast<size_t>(heap.huge_pages())]);
}

/// Digits only, at most nine of them.
bool parse_number(const Text& value, uint64_t* out) {
  uint64_t n = 0;
  if (value.size == 0 || value.size > 9) return false;
  for (size_t i = 0; i < value.size; ++i) {
    if (value.data[i] < '0' || value.data[i] > '9') return false;
    n = n * 10 + static_cast<uint64_t>(value.data[i] - '0');
  }
  *out = n;
  return true;
}

/// "65536", "64K", "1M".
bool parse_size(const Text& value, uint64_t* out) {
  const char unit = value.size == 0 ? 0 : value.data[value.size - 1];
  const unsigned shift = unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;
  if (!parse_number({value.data, value.size - (shift != 0 ? 1 : 0)}, out)) return false;
  *out <<= shift;
  return true;
}

/// "USR1", "RT+3".
bool parse_signal(const Text& value, int* out) {
  if (value.size > 3 && memcmp(value.data, "RT+", 3) == 0) {
    uint64_t n = 0;
    if (!parse_number({value.data + 3, value.size - 3}, &n) || n > static_cast<uint64_t>(SIGRTMAX - SIGRTMIN))
      return false;
    *out = SIGRTMIN + static_cast<int>(n);
    return true;
  }
  for (int s = 1; s < SIGRTMIN; ++s) {
    const char* const name = sigabbrev_np(s);
    if (name == nullptr || !value.is(name)) continue;
    *out = s;
    return s != SIGKILL && s != SIGSTOP;
  }
  return false;
}

void print_signal(Line& out, int signal) {
  if (signal == 0) {
    out.text("off");
  } else if (signal >= SIGRTMIN) {
    out.text("RT+").number(int64_t{signal - SIGRTMIN});
  } else {
    out.text(sigabbrev_np(signal));
  }
}

bool set_cpus(const Text& value) {
  if (value.is("auto")) {
    sched::set_procs(sched::default_procs());
    return true;
  }
  uint64_t n = 0;
  if (!parse_number(value, &n) || n == 0 || n > sched::kMaxProcs) return false;
  sched::set_procs(static_cast<int>(n));
  return true;
}

bool set_stack(const Text& value) {
  uint64_t bytes = 0;
  if (!parse_size(value, &bytes) || bytes < sched::kMinStack || bytes > sched::kMaxStack) return false;
  sched::set_default_stack(bytes);
  return true;
}

bool set_preempt(const Text& value) {
  int signal = 0;
  // Once goroutines run, the handler is in its place.
  if (sched::runtime_started() || (!value.is("off") && !parse_signal(value, &signal))) return false;
  sched::set_preempt_signal(signal);
  return true;
}

bool set_trace(const Text& value) {
  const bool all = value.is("all");
  if (!all && !value.is("off") && !value.is("sched") && !value.is("gc") && !value.is("safe")) return false;
  sched::set_trace(all || value.is("sched"));
  gc::set_trace(all || value.is("gc"));
  gc::quarantine::set_trace(all || value.is("safe"));
  return true;
}

bool set_safe(const Text& value) {
  bool on = false;
  // Not to be switched off: blocks that are held have no other way out.
  if (!set_bool(value, &on) || options_are_read) return false;
  options.safe = on;
  return true;
}

void get_trace(Line& out) {
  const bool gc = gc::is_tracing();
  const bool safe = gc::quarantine::is_tracing();
  out.text(sched::is_tracing() ? (gc ? "all" : "sched") : gc ? "gc" : safe ? "safe" : "off");
}

bool set_gc(const Text& value) {
  constexpr uint32_t kPercent = 100;
  constexpr uint64_t kMostPercent = 100'000;
  uint64_t n = kPercent;
  if (value.is("off")) {
    gc::set_mode(gc::Mode::kOff, gc::percent());
    return true;
  }
  if (!value.is("on") && (!parse_number(value, &n) || n == 0 || n > kMostPercent)) return false;
  gc::set_mode(gc::Mode::kOn, static_cast<uint32_t>(n));
  return true;
}

void get_gc(Line& out) {
  if (gc::mode() == gc::Mode::kOff) {
    out.text("off");
  } else if (gc::percent() == 100) {
    out.text("on");
  } else {
    out.number(uint64_t{gc::percent()});
  }
}

/// "auto": nine tenths of what the cgroups allow, for there is other memory than this; "N%": of the same, or of the machine's.
bool set_limit(const Text& value) {
  uint64_t bytes = 0;
  if (value.is("off")) {
    gc::set_limit(UINT64_MAX);
    return true;
  }
  const bool is_auto = value.is("auto");
  const bool is_percent = value.size > 1 && value.data[value.size - 1] == '%';
  if (!is_auto && !is_percent) {
    if (!parse_size(value, &bytes) || bytes == 0) return false;
    gc::set_limit(bytes);
    return true;
  }
  uint64_t percent = 90;
  if (is_percent && (!parse_number({value.data, value.size - 1}, &percent) || percent == 0 || percent > 100))
    return false;
  const uint64_t group = os::cgroup_memory_limit();
  const uint64_t all = is_auto ? group : std::min(group, os::machine_memory());
  gc::set_limit(all == UINT64_MAX ? all : all / 100 * percent);
  return true;
}

void get_limit(Line& out) {
  if (gc::limit() == UINT64_MAX) {
    out.text("off");
  } else {
    out.bytes(gc::limit());
  }
}

bool set_signal(const Text& value) {
  int signal = 0;
  if (!value.is("off") && !parse_signal(value, &signal)) return false;
  return report_on_signal(signal) == 0;
}

bool set_report(const Text& value) {
  if (value.size == 0) return false;
  if (value.size > 3 && memcmp(value.data, "fd:", 3) == 0) {
    for (size_t i = 3; i < value.size; ++i) {
      if (value.data[i] < '0' || value.data[i] > '9') return false;
    }
  }
  return value.copy_to(options.report, sizeof options.report);
}

constexpr Option kOptions[] = {
    {"stats", "off, on", "report at exit", [](const Text& v) { return set_bool(v, &options.stats); },
     [](Line& out) { out.text(on_off(options.stats)); }},
    {"leaks", "off, on, fail", "look at exit for blocks that nothing reaches; fail: exit with 23 then", set_leaks,
     [](Line& out) { out.text(kLeakChecks[static_cast<size_t>(options.leaks)]); }},
    {"suppress", "FILE", "lines leak:PATTERN: leaks whose stack matches are not reported", set_suppress,
     [](Line& out) { out.text(options.suppress); }},
    {"safe", "off, on", "freed memory is reused once nothing points to it", set_safe,
     [](Line& out) { out.text(on_off(options.safe)); }},
    {"report", "stderr, FILE, fd:N", "where reports go; %p in FILE is the process id, %c the program", set_report,
     [](Line& out) { out.text(options.report); }},
    {"only", "GLOB|GLOB...", "report only on programs whose name matches",
     [](const Text& v) { return v.size != 0 && v.copy_to(options.only, sizeof options.only); },
     [](Line& out) { out.text(options.only); }},
    {"verbose", "off, on", "say at start that the library is active",
     [](const Text& v) { return set_bool(v, &options.verbose); }, [](Line& out) { out.text(on_off(options.verbose)); }},
    {"purge", "TIME, now, never", "half-life of unused memory before the OS gets it back", set_purge, get_purge},
    {"check", "basic, off", "end the program at a misuse of the heap", set_check,
     [](Line& out) { out.text(misuse::enabled() ? "basic" : "off"); }},
    {"thp", "auto, always, never", "transparent huge pages for the heap", set_thp, get_thp},
    {"cpus", "auto, N", "how many goroutines run at once", set_cpus,
     [](Line& out) { out.number(int64_t{sched::set_procs(0)}); }},
    {"stack", "SIZE", "of a goroutine, 16K to 256M", set_stack, [](Line& out) { out.bytes(sched::default_stack()); }},
    {"preempt", "SIGNAL, off", "the signal that interrupts goroutines", set_preempt,
     [](Line& out) { print_signal(out, sched::get_preempt_signal()); }},
    {"gc", "on, off, N", "collect tri_alloc(TRI_GC) memory, at N % growth (100)", set_gc, get_gc},
    {"limit", "off, auto, SIZE, N%", "memory of blocks, of the cgroup's (auto: 90%)", set_limit, get_limit},
    {"trace", "off, sched, gc, safe, all", "a line a second about the scheduler; one for each collection, each look",
     set_trace, get_trace},
    {"signal", "off, SIGNAL", "report memory and tasks on this signal", set_signal,
     [](Line& out) { print_signal(out, report_signal()); }},
};
// Not for people: the launcher sets it.
constexpr const char* kPageKey = "page";

const Option* find_option(const Text& key) {
  for (const Option& o : kOptions) {
    if (key.is(o.key)) return &o;
  }
  return nullptr;
}

/// Edits that turn one word into the other (Levenshtein's distance), for words under 16 letters.
size_t distance(const Text& a, const char* b) {
  constexpr size_t kMost = 16;
  const size_t n = strlen(b);
  if (a.size >= kMost || n >= kMost) return kMost;
  size_t row[kMost];
  for (size_t j = 0; j <= n; ++j) row[j] = j;
  for (size_t i = 1; i <= a.size; ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; ++j) {
      const size_t replaced = diagonal + (a.data[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      const size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      row[j] = replaced < shorter ? replaced : shorter;
    }
  }
  return row[n];
}

void say_unknown(const Text& key) {
  const char* nearest = kOptions[0].key;
  for (const Option& o : kOptions) {
    if (distance(key, o.key) < distance(key, nearest)) nearest = o.key;
  }
  Line line;
  line.text("tri: unknown option '").text(key.data, key.size).text("' (did you mean '").text(nearest).text("'?)\n");
  line.write_to(2);
}

void say_bad_value(const Option& o, const Text& value) {
  Line line;
  line.text("tri: option '").text(o.key).text("' does not take '").text(value.data, value.size).text("' (");
  line.text(o.values).text(")\n").write_to(2);
}

void pad(Line& line, size_t from, size_t width) {
  while (line.size() < from + width) line.text(" ");
}

[[noreturn]] void print_help() {
  for (const Option& o : kOptions) {
    Line line;
    line.text(o.key);
    pad(line, 0, 9);
    o.get(line);
    pad(line, 9, 10);
    line.text("  ").text(o.values);
    pad(line, 21, 20);
    line.text("  ").text(o.meaning).text("\n").write_to(1);
  }
  _exit(0);
}

void set_from_text(const Text& key, const Text& value) {
  if (key.is("help")) print_help();
  if (key.is(kPageKey)) {
    value.copy_to(options.page, sizeof options.page);
    return;
  }
  const Option* o = find_option(key);
  if (o == nullptr) return say_unknown(key);
  // A key alone switches on.
  const Text given = value.data == nullptr ? Text{"on", 2} : value;
  if (!o->set(given)) say_bad_value(*o, given);
}

}  // namespace

void read_options() {
  // A program that runs with more rights than its caller does not take orders from the caller's environment.
  if (getauxval(AT_SECURE) != 0) return;
  const char* s = getenv("TRI");
  while (s != nullptr && *s != 0) {
    const size_t length = strcspn(s, ",");
    const auto* colon = static_cast<const char*>(memchr(s, ':', length));
    const size_t key_length = colon == nullptr ? length : static_cast<size_t>(colon - s);
    const Text value = colon == nullptr ? Text{nullptr, 0} : Text{colon + 1, length - key_length - 1};
    if (length != 0) set_from_text({s, key_length}, value);
    s += length + (s[length] == ',' ? 1 : 0);
  }
  if (options.leaks != LeakCheck::kOff && concerns_this_program()) note_sites();
  options_are_read = true;
}

int set_option(const char* key, const char* value) {
  const Option* o = find_option({key, strlen(key)});
  if (o == nullptr) return -ENOENT;
  if (!o->set({value, strlen(value)})) return -EINVAL;
  if (options.leaks != LeakCheck::kOff && concerns_this_program()) note_sites();
  return 0;
}

int get_option(const char* key, char* buffer, size_t length) {
  const Option* o = find_option({key, strlen(key)});
  if (o == nullptr) return -ENOENT;
  Line line;
  o->get(line);
  if (length != 0) {
    const size_t n = line.size() < length ? line.size() : length - 1;
    memcpy(buffer, line.data(), n);
    buffer[n] = 0;
  }
  return static_cast<int>(line.size());
}

bool concerns_this_program() {
  const char* s = options.only;
  while (*s != 0) {
    char pattern[sizeof options.only];
    const size_t length = strcspn(s, "|");
    memcpy(pattern, s, length);
    pattern[length] = 0;
    if (fnmatch(pattern, sys::program_name(), 0) == 0) return true;
    s += length + (s[length] == '|' ? 1 : 0);
  }
  return false;
}

void keep_stderr() {
  const bool any = (options.stats && options.page[0] == 0) || options.leaks != LeakCheck::kOff;
  if (!any || strcmp(options.report, "stderr") != 0) return;
  // High, where it is in nobody's way.
  constexpr int kFromHere = 200;
  const int saved_errno = errno;
  kept_stderr = fcntl(2, F_DUPFD_CLOEXEC, kFromHere);
  errno = saved_errno;
}

int open_report(bool* close_it) {
  *close_it = false;
  if (strcmp(options.report, "stderr") == 0) {
    // The program may have closed both, or put something else in their place.
    if (fcntl(2, F_GETFD) >= 0) return 2;
    return kept_stderr >= 0 && fcntl(kept_stderr, F_GETFD) >= 0 ? kept_stderr : -1;
  }
  if (strncmp(options.report, "fd:", 3) == 0) return atoi(options.report + 3);
  Line path;
  for (const char* s = options.report; *s != 0; ++s) {
    if (s[0] == '%' && s[1] == 'p') {
      path.number(static_cast<int64_t>(sys::process_id()));
      ++s;
    } else if (s[0] == '%' && s[1] == 'c') {
      path.text(sys::program_name());
      ++s;
    } else {
      path.text(s, 1);
    }
  }
  path.text("", 1);
  const int fd = open(path.data(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  *close_it = fd >= 0;
  return fd;
}

}  // namespace tri
