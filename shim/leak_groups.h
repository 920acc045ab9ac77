// leak_groups.h - Direct leaks, put together by where they were allocated, or by their size where that is not known; without those that
// are suppressed.
//
// Used by: leaks_report.
#ifndef TRI_SHIM_LEAK_GROUPS_H
#define TRI_SHIM_LEAK_GROUPS_H

#include <cstddef>

#include "alloc/base/print.h"
#include "alloc/sites.h"
#include "gc/leaks.h"

namespace tri {

/// Leaks of one site, or of one size; or, if there are too many of both, of all that have no group of their own.
struct Group {
  sites::Site site;  // 0: not known
  bool suppressed;
  size_t bytes;  // of each; 0: various
  size_t blocks;
  size_t own_bytes;
  size_t indirect_blocks;
  size_t indirect_bytes;
  const void* first;

  size_t total() const { return own_bytes + indirect_bytes; }
};

/// Without memory for groups there are none, and nothing is suppressed.
class LeakGroups {
 public:
  explicit LeakGroups(const gc::Leaks& leaks);
  ~LeakGroups();
  LeakGroups(const LeakGroups&) = delete;
  LeakGroups& operator=(const LeakGroups&) = delete;

  /// Those that are not suppressed, the largest first.
  const Group* begin() const { return groups_; }
  const Group* end() const { return groups_ + shown_; }

  /// Direct leaks, and blocks and bytes with all that hangs on them.
  struct Sum {
    size_t direct;
    size_t blocks;
    size_t bytes;
  };
  const Sum& suppressed() const { return suppressed_; }
  /// Direct leaks, not suppressed, whose site is known.
  size_t with_site() const { return with_site_; }
  /// Whether a leak is among the suppressed ones.
  bool is_suppressed(const gc::Leak& leak) const;

 private:
  static constexpr size_t kMost = 4096;
  static constexpr size_t kSlots = 2 * kMost;

  Group& group_of(sites::Site site, size_t bytes);

  Group* groups_ = nullptr;
  unsigned short* slots_ = nullptr;  // by hash; a group's place, from 1
  sites::Site* suppressed_sites_ = nullptr;
  size_t suppressed_count_ = 0;
  size_t count_ = 0;
  size_t shown_ = 0;
  size_t with_site_ = 0;
  Sum suppressed_ = {};
};

/// The frames of a site, one line each; nothing if it is not known.
void write_frames(int fd, sites::Site site);
/// The same as a JSON array, appended to what is already in the line, and written.
void write_frames_json(int fd, Line& line, sites::Site site);
void write_quoted(Line& line, const char* s);

}  // namespace tri

#endif
