// safe.cc - See safe.h.
#include "shim/safe.h"

#include "alloc/base/print.h"
#include "alloc/held.h"
#include "gc/quarantine.h"
#include "sched/critical.h"

namespace tri {
namespace {

void look() {
  // A goroutine must not be preempted on its way: who would let the world go on?
  sched::enter_critical();
  gc::quarantine::look_when_due();
  sched::leave_critical();
}

}  // namespace

void start_safe() {
  if (!held::switch_on()) {
    Line line;
    line.text("tri: safe: no memory for its tables; freed memory is reused at once").in_program().write_to(2);
    return;
  }
  held::set_looker(look);
  gc::quarantine::start();
}

}  // namespace tri
