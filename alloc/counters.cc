// counters.cc - See counters.h.
#include "alloc/counters.h"

namespace tri {
namespace {

constinit Counters own_counters;

}  // namespace

constinit Counters* counters = &own_counters;

void move_counters(Counters* to) {
  to->copy_from(*counters);
  counters = to;
}

}  // namespace tri
