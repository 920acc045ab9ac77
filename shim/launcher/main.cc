// main.cc - The program `tri`: runs a program under libtri.so and reports on what it did, however it ended.
//
//   tri run [-o KEY:VALUE]... [--] PROGRAM [ARG]...
//
// The launcher stays the parent. It shares a page of memory with every process that it starts (shim/stats_page.h), so the
// report needs no cooperation from a program that closes stderr, leaves by _exit(), or is killed. Exit status: that of the
// program; 128 + N if signal N ended it; 126 and 127 if it cannot be run; 2 for a mistake in the command line.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "alloc/base/print.h"
#include "alloc/stats.h"
#include "shim/launcher/inspect.h"
#include "shim/stats_page.h"

namespace {

constexpr int kMistake = 2;

constexpr const char* kUsage =
    "usage: tri run [-o KEY:VALUE]... [--] PROGRAM [ARG]...\n"
    "       tri --version\n"
    "\n"
    "Runs PROGRAM with its memory allocated by libtri.so, and reports on it.\n"
    "  -o KEY:VALUE   an option of the library; TRI=help tri run -- true lists them\n";

[[noreturn]] void fail(int status, const std::string& text) {
  fprintf(stderr, "tri: %s\n", text.c_str());
  exit(status);
}

/// libtri.so.1 beside this program, or where it is installed.
std::string find_library() {
  char self[4096];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) fail(126, "cannot find out where this program is: /proc is not mounted");
  self[n] = 0;
  const std::string folder = std::string(self).substr(0, std::string(self).rfind('/'));
  for (const std::string& candidate : {folder + "/libtri.so.1", folder + "/" TRI_LIBDIR "/libtri.so.1"}) {
    if (access(candidate.c_str(), R_OK) != 0) continue;
    char* real = realpath(candidate.c_str(), nullptr);
    std::string path = real != nullptr ? real : candidate;
    free(real);
    return path;
  }
  fail(126, "libtri.so.1 is neither beside " + std::string(self) + " nor in " TRI_LIBDIR " from there");
}

/// `first` before the old value of a variable.
void prepend(const char* variable, const std::string& first, char separator) {
  const char* old = getenv(variable);
  setenv(variable, old == nullptr || *old == 0 ? first.c_str() : (first + separator + old).c_str(), 1);
}

tri::StatsPage* make_page(int* fd) {
  // Not close-on-exec: children of children find it by the launcher's /proc entry, the program itself holds no copy.
  *fd = memfd_create("tri-stats", MFD_CLOEXEC);
  if (*fd < 0 || ftruncate(*fd, sizeof(tri::StatsPage)) != 0) return nullptr;
  void* p = mmap(nullptr, sizeof(tri::StatsPage), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  return p == MAP_FAILED ? nullptr : ::new (p) tri::StatsPage;
}

int64_t now_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

uint64_t to_ms(const timeval& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_usec) / 1000;
}

std::string describe_end(int status) {
  if (WIFEXITED(status)) return "exit " + std::to_string(WEXITSTATUS(status));
  const char* name = sigabbrev_np(WTERMSIG(status));
  return std::string("killed by SIG") + (name != nullptr ? name : std::to_string(WTERMSIG(status)).c_str());
}

void print_report(const tri::StatsPage& page, pid_t pid, int status, const rusage& usage, int64_t elapsed_ms) {
  const tri::ProcessSlot* slot = nullptr;
  tri::Report report;
  const uint32_t claimed = page.claimed.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < claimed && i < tri::StatsPage::kSlots; ++i) {
    const tri::ProcessSlot& s = page.slots[i];
    // The last slot of the process: after an exec it claims another.
    if (s.pid.load(std::memory_order_acquire) == pid) slot = &s;
  }
  for (uint32_t i = 0; i < claimed && i < tri::StatsPage::kSlots; ++i) {
    const tri::ProcessSlot& s = page.slots[i];
    if (s.pid.load(std::memory_order_acquire) == pid) continue;
    ++report.children;
    const uint64_t peak = s.counters.peak_bytes.load(std::memory_order_relaxed);
    if (peak > report.children_peak_bytes) report.children_peak_bytes = peak;
  }
  if (claimed > tri::StatsPage::kSlots) report.children += claimed - tri::StatsPage::kSlots;
  const std::string end = describe_end(status);
  if (slot == nullptr) {
    fprintf(stderr, "tri: the program ended (%s) before the library was active in it\n", end.c_str());
    return;
  }
  report.version = TRI_VERSION;
  report.program = slot->program;
  report.pid = pid;
  report.end = end.c_str();
  report.elapsed_ms = static_cast<uint64_t>(elapsed_ms);
  report.cpu_user_ms = to_ms(usage.ru_utime);
  report.cpu_system_ms = to_ms(usage.ru_stime);
  report.minor_faults = static_cast<uint64_t>(usage.ru_minflt);
  report.major_faults = static_cast<uint64_t>(usage.ru_majflt);
  report.peak_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  // acquire: pairs with report_at_exit().
  if (slot->has_final.load(std::memory_order_acquire) != 0) {
    report.has_live = true;
    report.rss_bytes = slot->rss_bytes;
    report.stats = slot->final;
  }
  tri::Line out;
  tri::print_report(report, slot->counters, out);
  out.write_to(2);
}

pid_t program_pid = 0;

void forward(int number, siginfo_t* info, void*) {
  // What the terminal sends reaches the program as well; what another process sends was meant for it, too.
  if (info->si_code <= 0) kill(program_pid, number);
}

/// The launcher stays to report, whatever it is sent.
void forward_signals_to(pid_t pid) {
  program_pid = pid;
  struct sigaction action = {};
  action.sa_sigaction = forward;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  for (int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT}) sigaction(number, &action, nullptr);
}

int run(const std::vector<std::string>& settings, char** command) {
  const std::string program = tri::find_program(command[0]);
  if (program.empty()) fail(127, std::string(command[0]) + ": not found");
  const std::string why = tri::why_not_preloadable(program);
  if (!why.empty()) fail(126, program + " cannot run under tri: " + why);

  const std::string library = find_library();
  int fd = -1;
  tri::StatsPage* const page = make_page(&fd);
  if (page == nullptr) fail(126, std::string("cannot share memory with the program: ") + strerror(errno));

  prepend("LD_PRELOAD", library, ':');
  std::string options = "page:/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd);
  if (const char* given = getenv("TRI"); given != nullptr && *given != 0) options += std::string(",") + given;
  for (const std::string& s : settings) options += "," + s;
  setenv("TRI", options.c_str(), 1);

  const int64_t started = now_ms();
  // A signal that comes before the program is there waits until it can be passed on.
  sigset_t all, old;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &old);
  const pid_t pid = fork();
  if (pid < 0) fail(126, std::string("cannot fork: ") + strerror(errno));
  if (pid == 0) {
    sigprocmask(SIG_SETMASK, &old, nullptr);
    execv(program.c_str(), command);
    fprintf(stderr, "tri: %s: %s\n", program.c_str(), strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
  }
  forward_signals_to(pid);
  sigprocmask(SIG_SETMASK, &old, nullptr);
  int status = 0;
  rusage usage{};
  while (wait4(pid, &status, 0, &usage) < 0) {
    if (errno != EINTR) fail(126, std::string("cannot wait: ") + strerror(errno));
  }
  print_report(*page, pid, status, usage, now_ms() - started);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fputs(kUsage, stderr);
    return kMistake;
  }
  const std::string verb = argv[1];
  if (verb == "--version") {
    puts("tri " TRI_VERSION);
    return 0;
  }
  if (verb == "--help" || verb == "help") {
    fputs(kUsage, stdout);
    return 0;
  }
  if (verb != "run") fail(kMistake, "there is no command '" + verb + "'; tri help");
  std::vector<std::string> settings;
  int i = 2;
  for (; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--") {
      ++i;
      break;
    }
    if (arg == "-o") {
      if (++i == argc) fail(kMistake, "-o needs KEY:VALUE");
      settings.emplace_back(argv[i]);
    } else if (arg[0] == '-') {
      fail(kMistake, "run does not know " + arg + "; tri help");
    } else {
      break;
    }
  }
  if (i >= argc) fail(kMistake, "run needs a program; tri help");
  return run(settings, argv + i);
}
