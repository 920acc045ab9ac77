// process.cc - See process.h.
#include "support/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern char** environ;

namespace tri_test {

namespace {

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  off_t offset = 0;
  for (;;) {
    ssize_t n = pread(fd, buffer, sizeof buffer, offset);
    if (n <= 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    offset += n;
  }
}

// Enough of a long text to tell what happened: its first words and its last.
std::string ends_of(const std::string& text) {
  constexpr size_t kEach = 1500;
  if (text.size() <= 2 * kEach) return text;
  return text.substr(0, kEach) + "\n[...]\n" + text.substr(text.size() - kEach);
}

bool starts_with(const char* text, const char* head) {
  return strncmp(text, head, strlen(head)) == 0;
}

std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> result;
  for (char** e = environ; *e != nullptr; ++e) {
    if (starts_with(*e, "LD_PRELOAD=") || starts_with(*e, "TRI=")) continue;
    result.emplace_back(*e);
  }
  std::string preload = command.preload_before;
  if (command.preload) preload += (preload.empty() ? "" : ":") + library();
  if (!command.preload_after.empty())
    preload += (preload.empty() ? "" : ":") + command.preload_after;
  if (!preload.empty()) result.push_back("LD_PRELOAD=" + preload);
  for (const auto& e : command.env) result.push_back(e);
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

std::string library() { return TRI_TEST_LIBRARY; }
std::string probe(const std::string& name) { return std::string(TRI_TEST_PROBES) + "/" + name; }

bool Outcome::exited(int code) const {
  return !timed_out && WIFEXITED(status) && WEXITSTATUS(status) == code;
}
bool Outcome::killed_by(int signal) const {
  return !timed_out && WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

std::string Outcome::describe() const {
  std::string how;
  if (timed_out)
    how = "hung (killed after the timeout)";
  else if (WIFEXITED(status))
    how = "exit " + std::to_string(WEXITSTATUS(status));
  else
    how = "killed by signal " + std::to_string(WTERMSIG(status));
  return how + "\n--- stdout\n" + ends_of(out) + "--- stderr\n" + ends_of(err) + "---\n";
}

Outcome run(const Command& command) {
  auto argv_strings = command.argv;
  auto env_strings = environment_of(command);
  auto argv = pointers(argv_strings);
  auto envp = pointers(env_strings);
  int out = memfd_create("stdout", MFD_CLOEXEC);
  int err = memfd_create("stderr", MFD_CLOEXEC);
  auto start = std::chrono::steady_clock::now();

  Outcome result;
  fflush(nullptr);
  result.pid = fork();
  if (result.pid == 0) {
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, 0);
    dup2(out, 1);
    dup2(err, 2);
    close(null);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);  // what this process inherited itself
    if (command.in_child) command.in_child();
    execve(argv[0], argv.data(), envp.data());
    dprintf(2, "exec %s: %s\n", argv[0], strerror(errno));
    _exit(127);
  }

  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, result.pid, 0));
  pollfd waiting{pidfd, POLLIN, 0};
  result.timed_out = poll(&waiting, 1, command.timeout_seconds * 1000) == 0;
  if (result.timed_out) kill(-result.pid, SIGKILL);
  waitpid(result.pid, &result.status, 0);
  kill(-result.pid, SIGKILL);  // what it left behind
  close(pidfd);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.out = read_all(out);
  result.err = read_all(err);
  close(out);
  close(err);
  return result;
}

Outcome run_probe(const std::string& name, std::vector<std::string> arguments,
                  std::vector<std::string> env) {
  Command command;
  command.argv.push_back(probe(name));
  for (auto& a : arguments) command.argv.push_back(std::move(a));
  command.env = std::move(env);
  return run(command);
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    result.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

std::string quoted(const std::string& text) {
  std::string result;
  for (char c : text) {
    if (strchr("\\^$.|?*+()[]{}", c) != nullptr) result += '\\';
    result += c;
  }
  return result;
}

}  // namespace tri_test
