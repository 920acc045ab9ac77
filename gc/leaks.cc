// leaks.cc - See leaks.h.
#include "gc/leaks.h"

#include <cerrno>

#include "alloc/thread.h"
#include "gc/mark_team.h"
#include "gc/marker.h"
#include "gc/own_map.h"
#include "gc/roots.h"
#include "gc/shadow.h"
#include "gc/stop.h"

namespace tri::gc {
Leaks::~Leaks() { unmap_own_array(leaks_, room_); }

int Leaks::find(uintptr_t sp) {
  if (in_slow_path()) return -EAGAIN;
  // Nobody is within the allocator when the world stops, so that its lists can be read, and its locks are free.
  if (const int error = stop_world(lock_allocator, unlock_allocator); error != 0) return error;
  const int error = find_stopped(sp);
  unstopped_ = unstopped_count();
  resume_world();
  return error;
}

int Leaks::find_stopped(uintptr_t sp) {
  Roots roots;
  if (const int error = roots.find(sp); error != 0) return error;
  roots.leave_out_ended_threads();
  Shadow shadow;
  if (const int error = shadow.begin(); error != 0) return error;
  if (const int error = sleepers_.find(roots, shadow); error != 0) {
    shadow.end();
    return error;
  }
  {
    MarkTeam team(shadow, processors_for_marking());
    roots.each(
        {[](void* arg, const void* begin, const void* end) { static_cast<Marker*>(arg)->scan_roots(begin, end); },
         &team.own(), [](void*, const Sleeper&) {}});
    team.drain();
  }
  {
    Marker marker(shadow);
    sleepers_.mark(marker);
  }
  blocks_ = shadow.blocks();
  bytes_ = shadow.bytes();
  LostBlocks lost(shadow, processors_for_marking());
  const int error = lost.find();
  shadow.end();
  if (error != 0) return error;
  leaks_ = lost.take(&direct_, &room_);
  for (const Leak& leak : *this) {
    direct_bytes_ += leak.bytes;
    indirect_ += leak.indirect_blocks;
    indirect_bytes_ += leak.indirect_bytes;
  }
  return 0;
}

}  // namespace tri::gc
