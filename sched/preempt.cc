// preempt.cc - See critical.h.
#include "sched/critical.h"

namespace tri::sched {

constinit thread_local uint32_t tls_critical = 0;
constinit thread_local bool tls_preempt_pending = false;

void preempt_late() { tls_preempt_pending = false; }

}  // namespace tri::sched
