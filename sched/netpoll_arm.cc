// netpoll_arm.cc - Until the network poller is here, no descriptor can be waited for in a select.
#include <cerrno>

#include "sched/netpoll.h"

namespace tri::sched {

int netpoll_arm(int, bool, G*, WaitId, int) { return -ENOSYS; }
void netpoll_disarm(int, bool, G*, WaitId) {}

}  // namespace tri::sched
