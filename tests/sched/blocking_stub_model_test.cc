// TEMPORARY: until the core is merged.
#include "sched/blocking.h"
namespace tri::sched {
void blocking_begin() {}
void blocking_end() {}
}  // namespace tri::sched
