// cycle.cc - See cycle.h.
#include "gc/cycle.h"

#include <cerrno>

#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/mark_team.h"
#include "gc/roots.h"
#include "gc/stop.h"

namespace tri::gc {

int Cycle::run(const CycleClient& client, uintptr_t sp) {
  Shadow shadow;
  if (const int error = shadow.prepare(); error != 0) return error;
  const int64_t begin = os::now_ns();
  // Nobody is within the allocator when the world stops.
  int error = stop_world(fork_prepare, fork_parent);
  if (error == 0) {
    stats_.unstopped = unstopped_count();
    error = stats_.unstopped != 0 ? -EBUSY : run_stopped(client, sp, shadow);
    resume_world();
  }
  stats_.last_stop_ns = os::now_ns() - begin;
  stats_.why_full = -ENOSYS;
  shadow.end();
  return error;
}

int Cycle::run_stopped(const CycleClient& client, uintptr_t sp, Shadow& shadow) {
  {
    // Gone before at_end(): who looks for roots once more must not find what this knows of the heap.
    Roots roots;
    if (const int error = roots.find(sp); error != 0) return error;
    if (const int error = shadow.begin(Shadow::Free::kCurrent); error != 0) return error;
    if (client.at_begin != nullptr) client.at_begin(client.arg, shadow);
    MarkTeam team(shadow, processors_for_marking());
    roots.each(
        {[](void* arg, const void* begin, const void* end) { static_cast<Marker*>(arg)->scan_roots(begin, end); },
         &team.own()});
    if (client.add_roots != nullptr) client.add_roots(client.arg, team.own());
    team.drain();
    stats_.marked_blocks = team.blocks();
    stats_.marked_bytes = team.bytes();
    stats_.markers = team.markers();
  }
  if (client.at_end != nullptr) client.at_end(client.arg, shadow);
  return 0;
}

}  // namespace tri::gc
