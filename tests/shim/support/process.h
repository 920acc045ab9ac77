// process.h - Runs a program under the library and tells how it ended.
//
// A test that drives children runs without the library itself: only the child gets LD_PRELOAD, so that a broken
// allocator ends a child and not the judge. Output goes to memory files rather than pipes: a grandchild that keeps
// a descriptor open cannot make the parent wait.
//
// Used by: every test here that ends in `_driver` in CMakeLists.txt.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace tri_test {

// The library under test and the folder of the probes, as CMake built them.
std::string library();
std::string probe(const std::string& name);

struct Command {
  std::vector<std::string> argv;
  bool preload = true;
  std::string preload_before = {};      // another library, loaded ahead of ours
  std::string preload_after = {};       // another library, loaded behind ours
  std::vector<std::string> env = {};    // "KEY=VALUE"
  std::function<void()> in_child = {};  // runs between fork and exec
  int timeout_seconds = 30;
};

struct Outcome {
  int pid = 0;
  int status = 0;  // as waitpid gives it
  bool timed_out = false;
  double seconds = 0;
  std::string out;
  std::string err;

  [[nodiscard]] bool exited(int code) const;
  [[nodiscard]] bool killed_by(int signal) const;
  [[nodiscard]] std::string describe() const;  // for a failing assertion
};

[[nodiscard]] Outcome run(const Command& command);

// A probe under the library, with arguments.
[[nodiscard]] Outcome run_probe(const std::string& name, std::vector<std::string> arguments = {},
                                std::vector<std::string> env = {});

[[nodiscard]] std::vector<std::string> lines(const std::string& text);

// The text with every character that a regular expression gives a meaning escaped.
[[nodiscard]] std::string quoted(const std::string& text);

}  // namespace tri_test
