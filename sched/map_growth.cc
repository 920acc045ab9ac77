// map_growth.cc - The beginning and the end of a growth, and what becomes of the old table. See map_growth.h.
#include "sched/map_growth.h"

namespace tri::sched::map_detail {
namespace {

// Freed at once costs less than 0.3 ms.
constexpr size_t kMinDying = 2 * 1024 * 1024;
constexpr size_t kDyingStep = 512 * 1024;
constexpr uint32_t kWritesPerDyingStep = 64;   // power of two

}  // namespace

bool grow(Map* m, bool doubles) {
  Table* const t = m->table;
  const size_t buckets = bucket_count(t);
  Table* const fresh = make_table(m, doubles ? buckets * 2 : buckets, t->overflow, false);
  if (fresh == nullptr) return false;
  m->old_table = t;
  m->table = fresh;
  m->moved = 0;
  return true;
}

void end_growth(Map* m) {
  Table* const old = m->old_table;
  m->old_table = nullptr;
  if (!is_pinned(m) && usable_size(old) >= kMinDying) {
    // None is left from the growth before: there were more writes since than that takes.
    if (m->dying != nullptr) free_table(m->dying);
    m->dying = old;
  } else {
    retire_table(m, old);
  }
  if constexpr (kVerify) map_verify(m);
}

void shrink_dying(Map* m) {
  if (++m->writes_while_dying % kWritesPerDyingStep != 0) return;
  Table* const t = m->dying;
  for (size_t i = 0; i < kWritesPerDyingStep && t->loose != nullptr; ++i) {
    Retired* const next = t->loose->next;
    deallocate(t->loose);
    t->loose = next;
  }
  const size_t size = usable_size(t);
  if (size > 2 * kDyingStep && resize_in_place(t, size - kDyingStep)) return;
  if (t->loose != nullptr) return;
  deallocate(t);
  m->dying = nullptr;
}

}  // namespace tri::sched::map_detail
