// context_api.cc - The functions of tri/context.h.
#include "sched/chan.h"
#include "sched/context.h"
#include "sched/scope.h"
#include "shim/export.h"
#include "shim/include/tri/context.h"

namespace {

using namespace tri::sched;

Context* in(tri_ctx* c) { return reinterpret_cast<Context*>(c); }
const Context* in(const tri_ctx* c) { return reinterpret_cast<const Context*>(c); }
tri_ctx* out(Context* c) { return reinterpret_cast<tri_ctx*>(c); }

Scope* in(tri_scope* s) { return reinterpret_cast<Scope*>(s); }
const Scope* in(const tri_scope* s) { return reinterpret_cast<const Scope*>(s); }
static_assert(sizeof(tri_scope) == sizeof(Scope));
static_assert(alignof(tri_scope) == alignof(Scope));

}  // namespace

TRI_EXPORT_BEGIN

tri_ctx* tri_ctx_new(tri_ctx* parent, tri_time deadline) {
  return out(Context::create(in(parent), deadline, nullptr, nullptr));
}
tri_ctx* tri_ctx_with_value(tri_ctx* parent, const void* key, void* value) {
  return out(Context::create(in(parent), kForever, key, value));
}
tri_ctx* tri_ctx_ref(tri_ctx* c) {
  if (c != nullptr) in(c)->ref();
  return c;
}
void tri_ctx_unref(tri_ctx* c) {
  if (c != nullptr) in(c)->unref();
}
void tri_ctx_cancel(tri_ctx* c) {
  if (c != nullptr) in(c)->cancel();
}
int tri_ctx_err(const tri_ctx* c) { return c != nullptr ? in(c)->error() : 0; }
tri_time tri_ctx_deadline(const tri_ctx* c) { return c != nullptr ? in(c)->deadline() : kForever; }
void* tri_ctx_value(const tri_ctx* c, const void* key) { return c != nullptr ? in(c)->value(key) : nullptr; }
int tri_ctx_wait(tri_ctx* c, tri_time deadline) {
  return c != nullptr ? in(c)->wait(deadline) : wait_on_nothing(deadline);
}
tri_ctx* tri_ctx_attach(tri_ctx* c) { return out(attach_context(in(c))); }
tri_ctx* tri_ctx_current(void) { return out(attached_context()); }

int tri_scope_open(tri_scope* s, tri_ctx* parent, tri_time deadline, uint32_t limit) {
  return in(s)->open(in(parent), deadline, limit);
}
int tri_scope_go(tri_scope* s, int (*fn)(void*), void* arg, tri_time deadline) { return in(s)->go(fn, arg, deadline); }
void tri_scope_cancel(tri_scope* s) { in(s)->cancel(); }
tri_ctx* tri_scope_ctx(tri_scope* s) { return out(in(s)->context()); }
int tri_scope_wait(tri_scope* s, tri_time deadline) { return in(s)->wait(deadline); }
int tri_scope_error(const tri_scope* s) { return in(s)->error(); }

TRI_EXPORT_END
