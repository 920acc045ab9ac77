// leak_groups.cc - See leak_groups.h.
#include "shim/leak_groups.h"

#include <algorithm>

#include "alloc/base/bits.h"
#include "alloc/modules.h"
#include "alloc/sampler.h"
#include "alloc/symbols.h"
#include "gc/own_map.h"
#include "shim/suppressions.h"

namespace tri {
LeakGroups::LeakGroups(const gc::Leaks& leaks) {
  if (leaks.direct_blocks() == 0) return;
  groups_ = gc::map_own_array<Group>(kMost);
  slots_ = gc::map_own_array<unsigned short>(kSlots);
  suppressed_sites_ = gc::map_own_array<sites::Site>(kMost);
  if (groups_ == nullptr || slots_ == nullptr || suppressed_sites_ == nullptr) return;
  for (const gc::Leak& leak : leaks) {
    Group& g = group_of(sampler::site_of(leak.block), leak.bytes);
    if (g.blocks++ == 0) {
      g.first = leak.block;
      if (g.site != 0) g.bytes = leak.bytes;
    }
    if (g.bytes != leak.bytes) g.bytes = 0;
    g.own_bytes += leak.bytes;
    g.indirect_blocks += leak.indirect_blocks;
    g.indirect_bytes += leak.indirect_bytes;
  }
  for (Group* g = groups_; g != groups_ + count_; ++g) {
    g->suppressed = tri::is_suppressed(g->site);
    if (g->suppressed) {
      suppressed_.direct += g->blocks;
      suppressed_.blocks += g->blocks + g->indirect_blocks;
      suppressed_.bytes += g->total();
      suppressed_sites_[suppressed_count_++] = g->site;
    } else {
      ++shown_;
      if (g->site != 0) with_site_ += g->blocks;
    }
  }
  std::sort(suppressed_sites_, suppressed_sites_ + suppressed_count_);
  std::sort(groups_, groups_ + count_, [](const Group& a, const Group& b) {
    return a.suppressed != b.suppressed ? b.suppressed : a.total() > b.total();
  });
}

LeakGroups::~LeakGroups() {
  gc::unmap_own_array(groups_, kMost);
  gc::unmap_own_array(slots_, kSlots);
  gc::unmap_own_array(suppressed_sites_, kMost);
}

bool LeakGroups::is_suppressed(const gc::Leak& leak) const {
  if (suppressed_count_ == 0) return false;
  return std::binary_search(suppressed_sites_, suppressed_sites_ + suppressed_count_, sampler::site_of(leak.block));
}

/// The last group is for all that came too late.
Group& LeakGroups::group_of(sites::Site site, size_t bytes) {
  if (site != 0) bytes = 0;
  const uint64_t key = uint64_t{site} << 40 ^ bytes;
  for (size_t i = mix(key) % kSlots;; i = (i + 1) % kSlots) {
    if (slots_[i] != 0) {
      Group& g = groups_[slots_[i] - 1];
      // A group without a site has its size for as long as it is the only one: the last is of all sizes, and is found by nobody.
      if (g.site == site && (site != 0 || g.bytes == bytes)) return g;
      continue;
    }
    if (count_ == kMost) return groups_[kMost - 1];
    Group& g = groups_[count_++];
    if (count_ == kMost) return g;
    slots_[i] = static_cast<unsigned short>(count_);
    g.site = site;
    g.bytes = bytes;
    return g;
  }
}

// ---- frames -------------------------------------------------------------------------------------------------------

namespace {

void write_build_id(Line& line, const Origin& file) {
  for (size_t i = 0; i < file.build_id_size; ++i) {
    line.text(&"0123456789abcdef"[file.build_id[i] >> 4], 1).text(&"0123456789abcdef"[file.build_id[i] & 15], 1);
  }
}

}  // namespace

void write_quoted(Line& line, const char* s) {
  line.text("\"");
  for (; *s != 0; ++s) {
    const auto c = static_cast<unsigned char>(*s);
    if (c < 0x20 || c == '"' || c == '\\') {
      line.text("\\u00").text(&"0123456789abcdef"[c >> 4], 1).text(&"0123456789abcdef"[c & 15], 1);
    } else {
      line.text(s, 1);
    }
  }
  line.text("\"");
}

void write_frames(int fd, sites::Site site) {
  sites::Frame frames[sites::kMostFrames];
  const size_t n = sites::frames(site, frames);
  for (size_t i = 0; i < n; ++i) {
    Line line;
    line.text("    ");
    const Origin* const file = Modules::origin(frames[i].origin);
    if (file == nullptr) {
      line.text("[").hex(frames[i].offset).text("]\n").write_to(fd);
      continue;
    }
    Symbol symbol;
    if (find_symbol(*file, frames[i].offset, &symbol)) line.text(symbol.name).text("+").hex(symbol.offset).text(" ");
    line.text("(").text(file->path).text("+").hex(frames[i].offset).text(")\n").write_to(fd);
  }
}

void write_frames_json(int fd, Line& line, sites::Site site) {
  sites::Frame frames[sites::kMostFrames];
  const size_t n = sites::frames(site, frames);
  line.text("[");
  for (size_t i = 0; i < n; ++i) {
    line.write_to(fd);
    line.clear();
    line.text(i == 0 ? "{\"offset\":\"" : ",{\"offset\":\"").hex(frames[i].offset).text("\"");
    if (const Origin* const file = Modules::origin(frames[i].origin); file != nullptr) {
      line.text(",\"module\":");
      write_quoted(line, file->path);
      if (file->build_id_size != 0) {
        line.text(",\"build_id\":\"");
        write_build_id(line, *file);
        line.text("\"");
      }
      Symbol symbol;
      if (find_symbol(*file, frames[i].offset, &symbol)) {
        line.text(",\"function\":");
        write_quoted(line, symbol.name);
        line.text(",\"function_offset\":").number(symbol.offset);
      }
    }
    line.text("}");
  }
  line.text("]").write_to(fd);
  line.clear();
}

}  // namespace tri
