// random.cc - See random.h.
#include "sched/random.h"

namespace tri::sched {

constinit thread_local uint32_t tls_random = 0;

}  // namespace tri::sched
