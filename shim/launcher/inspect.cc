// inspect.cc - See inspect.h.
#include "shim/launcher/inspect.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

namespace tri {
namespace {

/// What this program, and so libtri.so beside it, is made for.
unsigned own_machine() {
  Elf64_Ehdr elf = {};
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (read(fd, &elf, sizeof elf) != sizeof elf) elf.e_machine = EM_NONE;
    close(fd);
  }
  return elf.e_machine;
}

/// The interpreter that a script's first line names; empty if it is no script.
std::string script_interpreter(const std::vector<char>& head) {
  if (head.size() < 3 || head[0] != '#' || head[1] != '!') return {};
  const std::string line(head.begin() + 2, head.end());
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos) return {};
  return line.substr(begin, line.find_first_of(" \t\n", begin) - begin);
}

std::string check_elf(int fd, const std::vector<char>& head) {
  Elf64_Ehdr elf;
  if (head.size() < sizeof elf || memcmp(head.data(), ELFMAG, SELFMAG) != 0) {
    return "it is neither an ELF program nor a script";
  }
  memcpy(&elf, head.data(), sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != own_machine()) {
    return "it is made for another architecture than libtri.so";
  }
  std::vector<Elf64_Phdr> headers(elf.e_phnum);
  const size_t bytes = headers.size() * sizeof(Elf64_Phdr);
  if (pread(fd, headers.data(), bytes, static_cast<off_t>(elf.e_phoff)) != static_cast<ssize_t>(bytes)) {
    return "its program headers cannot be read";
  }
  for (const Elf64_Phdr& h : headers) {
    if (h.p_type == PT_INTERP) return {};
  }
  return "it is statically linked, so no library can be preloaded; link it dynamically";
}

}  // namespace

std::string find_program(const std::string& name) {
  const auto is_program = [](const std::string& path) {
    struct stat s;
    return stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode) && access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string::npos) return access(name.c_str(), F_OK) == 0 ? name : std::string();
  const char* variable = getenv("PATH");
  std::string rest = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  while (true) {
    const size_t end = rest.find(':');
    const std::string folder = rest.substr(0, end);
    const std::string path = (folder.empty() ? "." : folder) + "/" + name;
    if (is_program(path)) return path;
    if (end == std::string::npos) return {};
    rest.erase(0, end + 1);
  }
}

std::string why_not_preloadable(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::string("it cannot be read: ") + strerror(errno);
  struct stat s;
  std::string why;
  std::vector<char> head(512);
  const ssize_t n = pread(fd, head.data(), head.size(), 0);
  head.resize(n > 0 ? static_cast<size_t>(n) : 0);
  const std::string interpreter = script_interpreter(head);
  if (fstat(fd, &s) == 0 && S_ISDIR(s.st_mode)) {
    why = "it is a directory";
  } else if (access(path.c_str(), X_OK) != 0) {
    why = "it is not executable";
  } else if (!interpreter.empty()) {
    why = why_not_preloadable(interpreter);
    if (!why.empty()) why = "its interpreter " + interpreter + " cannot: " + why;
  } else if ((s.st_mode & (S_ISUID | S_ISGID)) != 0 && geteuid() != s.st_uid) {
    why = "it is set-user-ID or set-group-ID, and the dynamic linker ignores LD_PRELOAD there";
  } else {
    why = check_elf(fd, head);
  }
  close(fd);
  return why;
}

}  // namespace tri
