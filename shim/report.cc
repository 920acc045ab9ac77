// report.cc - See report.h.
#include "shim/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>

#include "alloc/base/sys.h"
#include "alloc/held.h"
#include "alloc/os/os.h"
#include "alloc/stats.h"
#include "gc/quarantine.h"
#include "shim/leaks_report.h"
#include "shim/options.h"
#include "shim/stats_page.h"

namespace tri {
namespace {

constinit StatsPage* page = nullptr;
constinit ProcessSlot* slot = nullptr;
constinit int64_t started_ns = 0;
// For a process that has no slot: a forked child whose launcher's page is full.
constinit Counters private_counters;

uint64_t to_ms(const timeval& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_usec) / 1000;
}

void claim_slot() {
  const uint32_t i = page->claimed.fetch_add(1, std::memory_order_relaxed);
  if (i >= StatsPage::kSlots) return;
  slot = &page->slots[i];
  strncpy(slot->program, sys::program_name(), sizeof slot->program - 1);
  move_counters(&slot->counters);
  // release: the launcher sees the name with the id.
  slot->pid.store(sys::process_id(), std::memory_order_release);
}

}  // namespace

void prepare_report() {
  started_ns = os::now_ns();
  keep_stderr();
  if (options.page[0] == 0) return;
  const int saved_errno = errno;
  const int fd = open(options.page, O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    void* p = mmap(nullptr, sizeof(StatsPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED && static_cast<StatsPage*>(p)->magic == StatsPage::kMagic) {
      page = static_cast<StatsPage*>(p);
      claim_slot();
    }
  }
  errno = saved_errno;
}

void leave_parents_slot() {
  started_ns = os::now_ns();
  if (slot == nullptr) return;
  slot = nullptr;
  move_counters(&private_counters);
  claim_slot();
}

static void print_safe(Line& out) {
  const gc::quarantine::Totals t = gc::quarantine::totals();
  out.text("  safe      ").count(t.looks).text(t.looks == 1 ? " look" : " looks");
  if (t.failed != 0) out.text(" (").count(t.failed).text(" failed)");
  out.text(" in ").number(t.total_ns / 1'000'000).text(" ms, longest stop ").number(t.longest_stop_ns / 1000);
  out.text(" us; returned ").bytes(t.returned_bytes).text(" in ").count(t.returned_blocks).text(" blocks, held ");
  out.bytes(held::held_bytes()).text("\n");
}

void write_stats_report(int fd, const char* end) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  Report report;
  report.version = TRI_VERSION;
  report.program = sys::program_name();
  report.pid = sys::process_id();
  report.end = end;
  report.elapsed_ms = static_cast<uint64_t>(os::now_ns() - started_ns) / 1'000'000;
  report.cpu_user_ms = to_ms(usage.ru_utime);
  report.cpu_system_ms = to_ms(usage.ru_stime);
  report.minor_faults = static_cast<uint64_t>(usage.ru_minflt);
  report.major_faults = static_cast<uint64_t>(usage.ru_majflt);
  report.peak_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  report.rss_bytes = os::resident_bytes();
  report.has_live = true;
  report.stats = take_stats();
  Line out;
  print_report(report, *counters, out);
  if (held::is_on()) print_safe(out);
  out.write_to(fd);
}

namespace {

void say_cannot_write() {
  Line line;
  line.text("tri: cannot write the report to ").text(options.report).text(": ").text(strerrorname_np(errno)).text("\n");
  line.write_to(2);
}

}  // namespace

void check_leaks_at_exit(int, void*) {
  if (options.leaks == LeakCheck::kOff || !concerns_this_program()) return;
  const int saved_errno = errno;
  bool close_it = false;
  const int fd = open_report(&close_it);
  if (fd < 0) say_cannot_write();
  const long leaks = write_leaks_report(fd);
  if (close_it) close(fd);
  if (leaks > 0 && options.leaks == LeakCheck::kFail) {
    // Goes on where this exit() is, after the last handler: what is buffered is written, without waiting for streams that threads have
    // locked, as fflush(nullptr) would.
    exit(kLeaksFound);
  }
  errno = saved_errno;
}

void report_at_exit(int status, void*) {
  if (slot != nullptr) {
    slot->final = take_stats();
    slot->rss_bytes = os::resident_bytes();
    // release: pairs with the launcher's acquire.
    slot->has_final.store(1, std::memory_order_release);
    return;
  }
  if (!options.stats || !concerns_this_program()) return;
  const int saved_errno = errno;
  bool close_it = false;
  const int fd = open_report(&close_it);
  Line line;
  if (fd >= 0) {
    line.text("exit ").number(static_cast<int64_t>(status & 0xff)).text("", 1);
    write_stats_report(fd, line.data());
  } else {
    say_cannot_write();
  }
  if (close_it) close(fd);
  errno = saved_errno;
}

}  // namespace tri
