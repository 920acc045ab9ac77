// symbols.cc - See symbols.h.
#include "alloc/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include <cstring>

#include "alloc/base/bits.h"
#include "alloc/base/print.h"
#include "tri_arch.h"

namespace tri {
namespace {

using arch::system_call;

class File {
 public:
  explicit File(const char* path)
      : fd_(system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) system_call(SYS_close, fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// How many bytes there are of those asked for.
  size_t read(void* to, size_t bytes, uint64_t at) const {
    if (fd_ < 0) return 0;
    const long n =
        system_call(SYS_pread64, fd_, reinterpret_cast<long>(to), static_cast<long>(bytes), static_cast<long>(at));
    return n < 0 ? 0 : static_cast<size_t>(n);
  }
  template <class T>
  bool read_record(T* to, uint64_t at) const {
    return read(to, sizeof *to, at) == sizeof *to;
  }

 private:
  long fd_;
};

bool has_build_id(const File& f, const Elf64_Shdr& notes, const Origin& wanted) {
  char buffer[256];
  const size_t bytes = f.read(buffer, notes.sh_size < sizeof buffer ? notes.sh_size : sizeof buffer, notes.sh_offset);
  for (size_t i = 0; i + sizeof(Elf64_Nhdr) + 4 <= bytes;) {
    Elf64_Nhdr n;
    memcpy(&n, buffer + i, sizeof n);
    const size_t description = i + sizeof n + align_up(size_t{n.n_namesz}, size_t{4});
    const size_t end = description + align_up(size_t{n.n_descsz}, size_t{4});
    if (end > bytes || end <= i) break;
    if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && memcmp(buffer + i + sizeof n, "GNU", 4) == 0) {
      return n.n_descsz == wanted.build_id_size && memcmp(buffer + description, wanted.build_id, n.n_descsz) == 0;
    }
    i = end;
  }
  return false;
}

struct Tables {
  Elf64_Shdr symbols = {};
  Elf64_Shdr names = {};
  bool full = false;  // not only what is exported
};

/// The better of its tables. False if the file is no longer what it was, or has none.
bool find_tables(const File& f, const Origin& wanted, Tables* out) {
  Elf64_Ehdr header;
  if (!f.read_record(&header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr)) {
    return false;
  }
  bool same = wanted.build_id_size == 0;
  bool any = false;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr s;
    if (!f.read_record(&s, header.e_shoff + i * sizeof s)) return false;
    if (s.sh_type == SHT_NOTE && !same) same = has_build_id(f, s, wanted);
    if (s.sh_type != SHT_SYMTAB && (s.sh_type != SHT_DYNSYM || any)) continue;
    if (s.sh_entsize != sizeof(Elf64_Sym) || s.sh_size == 0) continue;
    if (!f.read_record(&out->names, header.e_shoff + s.sh_link * sizeof s)) return false;
    out->symbols = s;
    out->full = s.sh_type == SHT_SYMTAB;
    any = true;
  }
  return any && same;
}

bool search(const File& f, const Tables& t, uint64_t offset, Symbol* out) {
  constexpr size_t kAtOnce = 128;
  Elf64_Sym piece[kAtOnce];
  Elf64_Sym best = {};
  const size_t count = t.symbols.sh_size / sizeof(Elf64_Sym);
  for (size_t i = 0; i < count;) {
    const size_t wanted = count - i < kAtOnce ? count - i : kAtOnce;
    const size_t n =
        f.read(piece, wanted * sizeof(Elf64_Sym), t.symbols.sh_offset + i * sizeof(Elf64_Sym)) / sizeof(Elf64_Sym);
    if (n == 0) break;
    i += n;
    for (const Elf64_Sym* s = piece; s != piece + n; ++s) {
      const unsigned type = ELF64_ST_TYPE(s->st_info);
      if (s->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC) || s->st_value > offset) continue;
      // Those without a size are assembly's: they reach to the next.
      if (s->st_size != 0 && offset - s->st_value >= s->st_size) continue;
      if (best.st_name == 0 || s->st_value > best.st_value) best = *s;
    }
  }
  if (best.st_name == 0) return false;
  const size_t n = f.read(out->name, sizeof out->name - 1, t.names.sh_offset + best.st_name);
  out->name[n] = 0;
  out->offset = offset - best.st_value;
  return n != 0;
}

}  // namespace

bool find_symbol(const Origin& file, uint64_t offset, Symbol* out) {
  out->name[0] = 0;
  out->offset = 0;
  if (file.path[0] != '/') return false;
  const File own(file.path);
  Tables tables;
  const bool usable = find_tables(own, file, &tables);
  if (usable && tables.full) return search(own, tables, offset, out);
  if (file.build_id_size > 1) {
    Line path;
    path.text("/usr/lib/debug/.build-id/");
    for (size_t i = 0; i < file.build_id_size; ++i) {
      path.text(&"0123456789abcdef"[file.build_id[i] >> 4], 1).text(&"0123456789abcdef"[file.build_id[i] & 15], 1);
      if (i == 0) path.text("/");
    }
    path.text(".debug").text("", 1);
    const File debug(path.data());
    Tables its;
    if (find_tables(debug, file, &its) && its.full) return search(debug, its, offset, out);
  }
  return usable && search(own, tables, offset, out);
}

}  // namespace tri
