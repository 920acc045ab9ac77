// leaks_report.cc - See leaks_report.h.
#include "shim/leaks_report.h"

#include <cerrno>
#include <cstring>

#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/sampler.h"
#include "gc/gc.h"
#include "gc/roots.h"
#include "sched/critical.h"
#include "sched/dump.h"
#include "sched/roots.h"
#include "shim/leak_groups.h"

namespace tri {
namespace {

void visit_scheduler(const gc::Roots& roots, const gc::RootVisitor& visitor) {
  struct Both {
    const gc::Roots& roots;
    const gc::RootVisitor& visitor;
  } both{roots, visitor};
  sched::RootFinder finder = {};
  finder.arg = &both;
  finder.take = [](void* arg, const void* begin, const void* end) {
    static_cast<Both*>(arg)->visitor.visit(begin, end);
  };
  finder.lowest_sp_in = [](void* arg, uintptr_t low, uintptr_t high) {
    return static_cast<Both*>(arg)->roots.lowest_sp_in(low, high);
  };
  if (visitor.sleeper != nullptr) {
    finder.take_waiting = [](void* arg, sched::TaskId id, const void* record, const void* record_end, const void* stack,
                             const void* stack_end) {
      const gc::RootVisitor& v = static_cast<Both*>(arg)->visitor;
      v.sleeper(v.arg, {id, record, record_end, stack, stack_end});
    };
  }
  sched::each_root(finder);
}

void say_blocks(Line& line, size_t n) { line.number(uint64_t{n}).text(n == 1 ? " block" : " blocks"); }

const char* reason(int error) {
  switch (error) {
    case -EAGAIN:
      return "the allocator was interrupted by a signal";
    case -EBUSY:
      return "another look is under way on this thread";
    case -ENOENT:
      return "there is no /proc";
    case -EMFILE:
      return "no file descriptor is free";
    case -EACCES:
      return "the process may not be traced";
    case -ENOMEM:
      return "there is no memory for it";
    default:
      return strerrorname_np(-error);
  }
}

void say_why_not(int fd, int error) {
  Line line;
  line.text("tri: cannot look for leaks: ").text(reason(error)).in_program().write_to(fd);
}

}  // namespace

void prepare_collector() {
  gc::set_other_roots(visit_scheduler);
  gc::set_critical(sched::enter_critical, sched::leave_critical);
}

int find_leaks(gc::Leaks* leaks, uintptr_t sp) {
  // A goroutine must not be preempted on its way: who would let the world go on?
  sched::enter_critical();
  const int error = leaks->find(sp);
  sched::leave_critical();
  return error;
}

namespace {

/// Goroutines that wait for good, each with its stack.
void say_sleepers(int fd, const gc::Sleepers& sleepers) {
  const size_t n = sleepers.count();
  if (n == 0) return;
  Line line;
  line.text("tri: leaks: nothing can wake ").number(uint64_t{n}).text(n == 1 ? " goroutine" : " goroutines");
  if (sleepers.held_blocks() != 0) {
    line.text(n == 1 ? "; it alone holds " : "; they alone hold ");
    say_blocks(line, sleepers.held_blocks());
    line.text(" (").bytes(sleepers.held_bytes()).text(")");
  }
  line.in_program().write_to(fd);
  for (size_t i = 0; i < n; ++i) sched::dump_task(fd, sleepers.id(i));
}

void say_group(int fd, const Group& g) {
  Line line;
  line.text("  ").bytes(g.total()).text(": ");
  say_blocks(line, g.blocks);
  if (g.bytes == 0) {
    line.text(g.site != 0 ? " of various sizes" : " of other sizes");
  } else {
    line.text(" of ").bytes(g.bytes);
  }
  if (g.indirect_blocks != 0) {
    line.text(", with ").number(uint64_t{g.indirect_blocks}).text(" (").bytes(g.indirect_bytes).text(") that hang");
    line.text(g.indirect_blocks == 1 ? "s" : "").text(g.blocks == 1 ? " on it" : " on them");
  }
  line.text(g.blocks == 1 ? "; at " : "; the first at ").pointer(g.first);
  line.text(g.site != 0 ? ", allocated in\n" : "\n").write_to(fd);
  write_frames(fd, g.site);
}

/// For how many of the leaks the report can tell who allocated them.
void say_sites(int fd, size_t direct, const LeakGroups& groups) {
  if (!sampler::is_on()) return;
  Line line;
  if (groups.with_site() < direct) {
    line.text("  where they were allocated is known of ").number(uint64_t{groups.with_site()}).text(" of ");
    line.number(uint64_t{direct}).text(" direct leaks: a sample, whose shares are not those of all\n");
  }
  if (sites::lost() != 0) {
    line.text("  no room for ").number(sites::lost()).text(" stacks: they count as not known\n");
  }
  line.write_to(fd);
}

void say_suppressed(int fd, const LeakGroups& groups) {
  if (groups.suppressed().blocks == 0) return;
  Line line;
  line.text("  suppressed: ");
  say_blocks(line, groups.suppressed().blocks);
  line.text(" (").bytes(groups.suppressed().bytes).text(")\n").write_to(fd);
}

long write_text(int fd, uintptr_t sp) {
  gc::Leaks leaks;
  if (const int error = find_leaks(&leaks, sp); error != 0) {
    say_why_not(fd, error);
    return error;
  }
  const LeakGroups groups(leaks);
  const size_t direct = leaks.direct_blocks() - groups.suppressed().direct;
  const auto found = static_cast<long>(direct + leaks.sleepers().count());
  Line line;
  line.text("tri: ");
  if (direct == 0) {
    line.text("no leaks: all of ");
    say_blocks(line, leaks.blocks());
    line.text(" (")
        .bytes(leaks.bytes())
        .text(groups.suppressed().direct != 0 ? ") are reached, or suppressed" : ") are reached");
    line.in_program().write_to(fd);
    say_suppressed(fd, groups);
    say_sleepers(fd, leaks.sleepers());
    return found;
  }
  line.text("leaks: nothing reaches ");
  say_blocks(line, leaks.direct_blocks() + leaks.indirect_blocks() - groups.suppressed().blocks);
  line.text(" (").bytes(leaks.direct_bytes() + leaks.indirect_bytes() - groups.suppressed().bytes).text(") of ");
  line.number(uint64_t{leaks.blocks()}).text(" (").bytes(leaks.bytes()).text(")").in_program().write_to(fd);
  for (const Group& g : groups) say_group(fd, g);
  say_sites(fd, direct, groups);
  say_suppressed(fd, groups);
  if (leaks.unstopped_threads() != 0) {
    line.clear();
    line.number(uint64_t{leaks.unstopped_threads()})
        .text(" threads could not be stopped: what only they hold may be among these\n");
    line.write_to(fd);
  }
  say_sleepers(fd, leaks.sleepers());
  return found;
}

long write_json(int fd, uintptr_t sp) {
  gc::Leaks leaks;
  Line line;
  line.text("{\"program\":");
  write_quoted(line, sys::program_name());
  line.text(",\"pid\":").number(int64_t{sys::process_id()});
  if (const int error = find_leaks(&leaks, sp); error != 0) {
    line.text(",\"error\":");
    write_quoted(line, reason(error));
    line.text("}\n").write_to(fd);
    return error;
  }
  const auto sum = [&line](const char* name, size_t blocks, size_t bytes) {
    line.text(",\"")
        .text(name)
        .text("\":{\"blocks\":")
        .number(uint64_t{blocks})
        .text(",\"bytes\":")
        .number(uint64_t{bytes})
        .text("}");
  };
  sum("in_use", leaks.blocks(), leaks.bytes());
  sum("direct", leaks.direct_blocks(), leaks.direct_bytes());
  sum("indirect", leaks.indirect_blocks(), leaks.indirect_bytes());
  const LeakGroups groups(leaks);
  sum("suppressed", groups.suppressed().blocks, groups.suppressed().bytes);
  line.text(",\"unstopped_threads\":").number(uint64_t{leaks.unstopped_threads()}).text(",\"leaks\":[").write_to(fd);
  const char* separator = "\n";
  for (const gc::Leak& leak : leaks) {
    if (groups.is_suppressed(leak)) continue;
    line.clear();
    line.text(separator).text("{\"address\":\"").pointer(leak.block).text("\",\"bytes\":").number(uint64_t{leak.bytes});
    line.text(",\"indirect_blocks\":").number(uint64_t{leak.indirect_blocks});
    line.text(",\"indirect_bytes\":").number(uint64_t{leak.indirect_bytes});
    if (const sites::Site site = sampler::site_of(leak.block); site != 0) {
      line.text(",\"site\":").number(uint64_t{site});
    }
    line.text("}").write_to(fd);
    separator = ",\n";
  }
  line.clear();
  line.text("],\"sites\":[").write_to(fd);
  separator = "\n";
  for (const Group& g : groups) {
    if (g.site == 0) continue;
    line.clear();
    line.text(separator).text("{\"site\":").number(uint64_t{g.site}).text(",\"frames\":");
    write_frames_json(fd, line, g.site);
    line.text("}").write_to(fd);
    separator = ",\n";
  }
  line.clear();
  line.text("],\"goroutines\":[").write_to(fd);
  separator = "\n";
  for (size_t i = 0; i < leaks.sleepers().count(); ++i) {
    line.clear();
    const uint64_t id = leaks.sleepers().id(i);
    line.text(separator).text("{\"id\":").number(id).text(",\"name\":");
    write_quoted(line, sched::TaskName(id).text);
    line.text(",\"waits_for\":");
    write_quoted(line, sched::waits_for(id));
    line.text("}").write_to(fd);
    separator = ",\n";
  }
  line.clear();
  line.text("]}\n").write_to(fd);
  return static_cast<long>(leaks.direct_blocks() - groups.suppressed().direct + leaks.sleepers().count());
}

}  // namespace

long write_leaks_report(int fd) {
  return gc::below_program([fd](uintptr_t sp) { return write_text(fd, sp); });
}

long write_leaks_json(int fd) {
  return gc::below_program([fd](uintptr_t sp) { return write_json(fd, sp); });
}

}  // namespace tri
