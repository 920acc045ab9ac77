// chan_api.cc - The functions of tri/chan.h.
#include <cstddef>

#include "sched/chan.h"
#include "sched/fatal.h"
#include "sched/select.h"
#include "shim/export.h"
#include "shim/include/tri/chan.h"

namespace {

using namespace tri::sched;

Channel* in(tri_chan* c) { return reinterpret_cast<Channel*>(c); }
const Channel* in(const tri_chan* c) { return reinterpret_cast<const Channel*>(c); }
tri_chan* out(Channel* c) { return reinterpret_cast<tri_chan*>(c); }

static_assert(sizeof(tri_case) == sizeof(Case));
static_assert(offsetof(tri_case, fd) == offsetof(Case, fd));
static_assert(offsetof(tri_case, object) == offsetof(Case, object));
static_assert(offsetof(tri_case, data) == offsetof(Case, data));
static_assert(offsetof(tri_case, when) == offsetof(Case, when));
static_assert(offsetof(tri_case, closed) == offsetof(Case, closed));
static_assert(TRI_CASE_SEND == static_cast<int>(CaseKind::kSend));
static_assert(TRI_CASE_RECV == static_cast<int>(CaseKind::kReceive));
static_assert(TRI_CASE_READABLE == static_cast<int>(CaseKind::kReadable));
static_assert(TRI_CASE_WRITABLE == static_cast<int>(CaseKind::kWritable));
static_assert(TRI_CASE_AFTER == static_cast<int>(CaseKind::kAt));
static_assert(TRI_CASE_DONE == static_cast<int>(CaseKind::kDone));
static_assert(TRI_FOREVER == kForever);

}  // namespace

TRI_EXPORT_BEGIN

tri_chan* tri_chan_new(size_t elem_size, size_t capacity) { return out(Channel::create(elem_size, capacity)); }

tri_chan* tri_chan_ref(tri_chan* c) {
  if (c != nullptr) in(c)->ref();
  return c;
}

void tri_chan_unref(tri_chan* c) {
  if (c != nullptr) in(c)->unref();
}

int tri_chan_send(tri_chan* c, const void* value, tri_time deadline) {
  return c != nullptr ? in(c)->send(value, deadline) : wait_on_nothing(deadline);
}

int tri_chan_recv(tri_chan* c, void* to, tri_time deadline) {
  return c != nullptr ? in(c)->receive(to, deadline) : wait_on_nothing(deadline);
}

void tri_chan_close(tri_chan* c) {
  if (c == nullptr) fatal("close of null channel", c);
  if (!in(c)->close()) fatal("close of closed channel", c);
}

size_t tri_chan_len(const tri_chan* c) { return c != nullptr ? in(c)->length() : 0; }

size_t tri_chan_cap(const tri_chan* c) { return c != nullptr ? in(c)->capacity() : 0; }

int tri_select(struct tri_case* cases, size_t n, tri_time deadline) {
  return select(reinterpret_cast<Case*>(cases), n, deadline);
}

TRI_EXPORT_END
