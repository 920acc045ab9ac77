// netpoll_none.cc - The poller of a build without one. Weak: netpoll.cc replaces it.
#include "sched/netpoll.h"

namespace tri::sched {

[[gnu::weak]] bool netpoll_active() { return false; }
[[gnu::weak]] G* netpoll(Time) { return nullptr; }
[[gnu::weak]] void netpoll_break() {}
[[gnu::weak]] void netpoll_reset_after_fork() {}

}  // namespace tri::sched
