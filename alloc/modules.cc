// modules.cc - See modules.h.
#include "alloc/modules.h"

#include <elf.h>
#include <errno.h>
#include <sys/auxv.h>

#include <atomic>
#include <cstring>
#include <new>

#include "alloc/base/bits.h"
#include "alloc/base/line_reader.h"
#include "alloc/os/os.h"
#include "alloc/persistent.h"

namespace tri {
namespace {

constexpr uint16_t kMostOrigins = 4096;
// Number 0 is nobody's. Written under the lock of who refreshes; release: pairs with the acquire in origin().
constinit std::atomic<const Origin*> origins[kMostOrigins] = {};
constinit uint16_t origin_count = 1;

uint16_t intern(const char* path, const uint8_t* build_id, uint8_t build_id_size) {
  for (uint16_t i = 1; i < origin_count; ++i) {
    const Origin* const o = origins[i].load(std::memory_order_relaxed);
    if (o->build_id_size == build_id_size && memcmp(o->build_id, build_id, build_id_size) == 0 &&
        strcmp(o->path, path) == 0) {
      return i;
    }
  }
  if (origin_count == kMostOrigins) return 0;
  const size_t length = strlen(path) + 1;
  auto* const o = static_cast<Origin*>(persistent::alloc(sizeof(Origin) + length, alignof(Origin)));
  if (o == nullptr) return 0;
  auto* const copy = reinterpret_cast<char*>(o + 1);
  memcpy(copy, path, length);
  o->path = copy;
  memcpy(o->build_id, build_id, build_id_size);
  o->build_id_size = build_id_size;
  origins[origin_count].store(o, std::memory_order_release);
  return origin_count++;
}

struct MapsLine {
  uintptr_t begin;
  uintptr_t end;
  uint64_t offset;
  uint64_t device;
  uint64_t inode;
  bool executable;
  const char* path;
};

/// "7f12a000-7f12b000 r-xp 00001000 08:01 1234   /usr/lib/x.so"
bool parse(const char* s, MapsLine* out) {
  uint64_t major = 0;
  uint64_t minor = 0;
  if (!parse_hex(&s, &out->begin) || *s++ != '-' || !parse_hex(&s, &out->end) || *s++ != ' ' || strlen(s) < 5) {
    return false;
  }
  out->executable = s[2] == 'x';
  s += 5;
  if (!parse_hex(&s, &out->offset) || *s++ != ' ' || !parse_hex(&s, &major) || *s++ != ':' || !parse_hex(&s, &minor) ||
      *s++ != ' ') {
    return false;
  }
  out->device = major << 32 | minor;
  out->inode = 0;
  for (; *s >= '0' && *s <= '9'; ++s) out->inode = out->inode * 10 + static_cast<uint64_t>(*s - '0');
  while (*s == ' ') ++s;
  out->path = s;
  return true;
}

/// Whether it stays for as long as the process: the program, the dynamic linker, libc, and this library itself, or what it is part of.
bool is_lasting(const Module& m) {
  for (const uintptr_t at : {getauxval(AT_PHDR), getauxval(AT_BASE), reinterpret_cast<uintptr_t>(&getauxval),
                             reinterpret_cast<uintptr_t>(static_cast<const Origin* (*)(uint16_t)>(&Modules::origin))}) {
    if (at - m.begin < m.end - m.begin) return true;
  }
  return false;
}

}  // namespace

/// Not on the stack: who allocates may stand on a small one.
struct Modules::Scratch {
  static constexpr size_t kMostHeaders = 64;
  static constexpr size_t kMostNotes = 1024;
  alignas(LineReader) char reader[sizeof(LineReader)];
  char path[1024];
  Elf64_Ehdr header;
  Elf64_Phdr headers[kMostHeaders];
  alignas(8) char notes[kMostNotes];
};

/// A module while its lines are read.
struct Modules::Reading {
  Module m = {};
  bool any = false;
  bool executable = false;
  size_t count = 0;
  bool full = false;
};

bool Modules::make_room(size_t n) {
  if (scratch_ == nullptr) {
    void* const memory = persistent::alloc(sizeof(Scratch), alignof(Scratch));
    if (memory == nullptr) return false;
    scratch_ = ::new (memory) Scratch;
  }
  if (n <= room_) return true;
  // The old arrays are lost: half of the new ones.
  auto* const both = static_cast<Module*>(persistent::alloc(2 * n * sizeof(Module), alignof(Module)));
  if (both == nullptr) return false;
  if (count_ != 0) memcpy(both, now_, count_ * sizeof(Module));
  now_ = both;
  next_ = both + n;
  room_ = n;
  return true;
}

int Modules::refresh() {
  if (!make_room(64)) return -ENOMEM;
  for (;;) {
    size_t count = 0;
    if (const int error = read_maps(&count); error != 0) return error;
    if (count <= room_) {
      Module* const old = now_;
      now_ = next_;
      next_ = old;
      count_ = count;
      ++generation_;
      return 0;
    }
    if (!make_room(2 * room_)) return -ENOMEM;
  }
}

/// The number of modules to *count: more than there is room for if there is too little.
int Modules::read_maps(size_t* count) {
  auto* const maps = ::new (static_cast<void*>(scratch_->reader)) LineReader("/proc/self/maps");
  if (!maps->is_open()) return maps->error();
  Reading r;
  const auto finish = [&] {
    if (r.any && r.executable) add(r, r.m);
    r.any = r.executable = false;
  };
  while (const char* const line = maps->next()) {
    MapsLine l;
    if (!parse(line, &l)) continue;
    const bool is_file = l.path[0] == '/' || strcmp(l.path, "[vdso]") == 0;
    if (!is_file) {
      if (!l.executable || l.path[0] == '[') continue;
      finish();
      r.m = {};
      r.m.begin = r.m.bias = l.begin;
      r.m.end = l.end;
      r.m.device = ~uint64_t{0};
      r.any = r.executable = true;
      finish();
    } else if (r.any && l.offset != 0 && l.device == r.m.device && l.inode == r.m.inode) {
      r.m.end = l.end;
      r.executable = r.executable || l.executable;
    } else {
      finish();
      r.m = {};
      r.m.begin = l.begin;
      r.m.end = l.end;
      r.m.bias = l.begin - l.offset;
      r.m.device = l.device;
      r.m.inode = l.inode;
      r.any = true;
      r.executable = l.executable;
      strncpy(scratch_->path, l.path, sizeof scratch_->path - 1);
    }
  }
  finish();
  maps->~LineReader();
  *count = r.count;
  return 0;
}

void Modules::add(Reading& r, const Module& m) {
  if (r.count++ >= room_) return;
  Module& to = next_[r.count - 1];
  to = m;
  if (to.device == ~uint64_t{0}) return;
  const Module* const old = find(to.begin);
  if (old != nullptr && old->begin == to.begin && old->end == to.end && old->device == to.device &&
      old->inode == to.inode && is_current(*old)) {
    to = *old;
    return;
  }
  read_headers(&to);
}

void Modules::read_headers(Module* m) const {
  Scratch& s = *scratch_;
  uint8_t build_id_size = 0;
  const bool is_elf = os::read_memory(&s.header, m->begin, sizeof s.header) &&
                      memcmp(s.header.e_ident, ELFMAG, SELFMAG) == 0 && s.header.e_ident[EI_CLASS] == ELFCLASS64 &&
                      s.header.e_phentsize == sizeof(Elf64_Phdr) && s.header.e_phnum <= Scratch::kMostHeaders;
  if (is_elf && os::read_memory(s.headers, m->begin + s.header.e_phoff, s.header.e_phnum * sizeof(Elf64_Phdr))) {
    // What the kernel maps begins at whole pages of the first segment.
    for (const Elf64_Phdr* h = s.headers; h != s.headers + s.header.e_phnum; ++h) {
      if (h->p_type != PT_LOAD) continue;
      m->bias = m->begin - align_down(h->p_vaddr - h->p_offset, os::page_size());
      break;
    }
    for (const Elf64_Phdr* h = s.headers; h != s.headers + s.header.e_phnum; ++h) {
      const uintptr_t at = m->bias + h->p_vaddr;
      if (at - m->begin >= m->end - m->begin) continue;
      if (h->p_type == PT_GNU_EH_FRAME) m->unwind = cfi::find_table(at);
      if (h->p_type == PT_NOTE && build_id_size == 0) build_id_size = read_build_id(m, at, h->p_filesz);
    }
    if (m->unwind.lines != 0 && is_lasting(*m)) {
      // Of the file's own bytes in the segment: nobody cuts a file that is run, and what lies behind them may be anything.
      for (const Elf64_Phdr* h = s.headers; h != s.headers + s.header.e_phnum; ++h) {
        if (h->p_type != PT_LOAD || (h->p_flags & PF_R) == 0) continue;
        const cfi::Lasting segment = {m->bias + h->p_vaddr, h->p_filesz};
        if (segment.has(m->unwind.base, 1)) m->unwind.lasting = segment;
      }
    }
    if (build_id_size == 0) {
      m->check_at = m->begin + offsetof(Elf64_Ehdr, e_entry);  // entry, and where its tables are
      m->check_bytes = Origin::kMostBuildId;
      memcpy(m->check, &s.header.e_entry, m->check_bytes);
    }
  }
  m->origin = intern(s.path, m->check, build_id_size);
}

uint8_t Modules::read_build_id(Module* m, uintptr_t notes, size_t bytes) const {
  char* const at = scratch_->notes;
  if (bytes > Scratch::kMostNotes) bytes = Scratch::kMostNotes;
  if (!os::read_memory(at, notes, bytes)) return 0;
  for (size_t i = 0; i + sizeof(Elf64_Nhdr) + 4 <= bytes;) {
    Elf64_Nhdr n;
    memcpy(&n, at + i, sizeof n);
    const size_t description = i + sizeof n + align_up(size_t{n.n_namesz}, size_t{4});
    const size_t end = description + align_up(size_t{n.n_descsz}, size_t{4});
    if (end > bytes || end <= i) return 0;
    if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && memcmp(at + i + sizeof n, "GNU", 4) == 0 &&
        n.n_descsz <= Origin::kMostBuildId) {
      m->check_at = notes + description;
      m->check_bytes = static_cast<uint8_t>(n.n_descsz);
      memcpy(m->check, at + description, m->check_bytes);
      return m->check_bytes;
    }
    i = end;
  }
  return 0;
}

const Module* Modules::find(uintptr_t address) const {
  size_t low = 0;
  size_t high = count_;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (now_[middle].end <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < count_ && now_[low].begin <= address ? &now_[low] : nullptr;
}

bool Modules::is_current(const Module& m) const {
  uint8_t now[Origin::kMostBuildId];
  return m.check_bytes == 0 ||
         (os::read_memory(now, m.check_at, m.check_bytes) && memcmp(now, m.check, m.check_bytes) == 0);
}

const Origin* Modules::origin(uint16_t number) {
  return number < kMostOrigins ? origins[number].load(std::memory_order_acquire) : nullptr;  // as above
}

}  // namespace tri
