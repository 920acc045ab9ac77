// page_alloc_model_test.cc - alloc/page_alloc.h against a byte for each page.
#include "alloc/page_alloc.h"

#include <memory>

#include "tests/alloc/support.h"

namespace tri {
namespace {

struct Model {
  struct Page {
    bool taken = true;
    bool scavenged = false;
  };
  std::vector<std::vector<Page>> arenas;

  bool is_free(size_t a, size_t page, size_t count) const {
    if (page + count > kArenaPages) return false;
    for (size_t i = page; i < page + count; ++i) {
      if (arenas[a][i].taken) return false;
    }
    return true;
  }
  void assign(size_t a, size_t page, size_t count, bool taken) {
    for (size_t i = page; i < page + count; ++i) arenas[a][i].taken = taken;
  }
  bool is_dirty(size_t a, size_t page) const { return !arenas[a][page].taken && !arenas[a][page].scavenged; }

  struct Place {
    bool found;
    size_t arena;
    size_t page;
  };
  Place first_fit(size_t count) const {
    for (size_t a = 0; a < arenas.size(); ++a) {
      size_t run = 0;
      for (size_t i = 0; i < kArenaPages; ++i) {
        run = arenas[a][i].taken ? 0 : run + 1;
        if (run == count) return {true, a, i + 1 - count};
      }
    }
    return {false, 0, 0};
  }
  Place last_dirty() const {
    for (size_t a = arenas.size(); a-- != 0;) {
      for (size_t i = kArenaPages; i-- != 0;) {
        if (is_dirty(a, i)) return {true, a, i};
      }
    }
    return {false, 0, 0};
  }
};

class PageAllocModel : public ::testing::Test {
 protected:
  void run(size_t arena_count, size_t steps, size_t steps_per_verify) {
    for (size_t a = 0; a < arena_count; ++a) add_arena(a);
    for (size_t step = 0; step < steps; ++step) {
      one_step();
      if (HasFatalFailure()) return;
      if (step % steps_per_verify == 0) {
        pages_.verify();
        check_totals();
      }
    }
    pages_.verify();
    check_totals();
  }

 private:
  void add_arena(size_t a) {
    arenas_.push_back(std::make_unique<Arena>());
    Arena* const arena = arenas_.back().get();
    // Far apart, and not in the order of addresses.
    arena->base = reinterpret_cast<char*>((mix(a) % (1 << 20)) * kArenaBytes);
    ASSERT_TRUE(pages_.add(arena));
    model_.arenas.emplace_back(kArenaPages);
    // Some arenas are not wholly the heap's.
    const size_t count = random_.one_in(4) ? random_.size_up_to(kArenaPages) : kArenaPages;
    const size_t page = random_.below(kArenaPages - count + 1);
    arena->scavenged.set(page, count);
    for (size_t i = page; i < page + count; ++i) model_.arenas[a][i].scavenged = true;
    give_back({arena, page, count});
  }

  size_t ordinal(const Arena* arena) const { return arena->ordinal; }

  void give_back(const PageRun& run) {
    pages_.free(run);
    model_.assign(ordinal(run.arena), run.page, run.count, false);
  }

  /// The number of pages to ask for: mostly few, sometimes up to all.
  size_t some_pages() { return random_.one_in(8) ? random_.size_up_to(kArenaPages) : random_.between(1, 40); }

  void one_step() {
    switch (random_.below(16)) {
      case 0 ... 5:
        return alloc();
      case 6 ... 10:
        return free();
      case 11 ... 12:
        return alloc_at();
      case 13:
        return claim();
      default:
        return purge();
    }
  }

  void alloc() {
    const size_t count = some_pages();
    const Model::Place want = model_.first_fit(count);
    const PageRun run = pages_.alloc(count);
    ASSERT_EQ(run.arena != nullptr, want.found);
    if (!want.found) return;
    ASSERT_EQ(ordinal(run.arena), want.arena);
    ASSERT_EQ(run.page, want.page);
    ASSERT_EQ(run.count, count);
    model_.assign(want.arena, want.page, count, true);
    taken_.push_back(run);
  }

  void free() {
    if (taken_.empty()) return;
    const size_t i = random_.below(taken_.size());
    PageRun run = taken_[i];
    // Sometimes a part only, as when a block shrinks.
    if (run.count > 1 && random_.one_in(4)) {
      const size_t kept = random_.between(1, run.count - 1);
      taken_[i].count = kept;
      run.page += kept;
      run.count -= kept;
    } else {
      taken_[i] = taken_.back();
      taken_.pop_back();
    }
    // Its user touched the first few.
    const size_t touched = random_.below(run.count + 1);
    run.arena->scavenged.clear(run.page, touched);
    for (size_t p = run.page; p < run.page + touched; ++p) model_.arenas[ordinal(run.arena)][p].scavenged = false;
    give_back(run);
  }

  void alloc_at() {
    Arena* const arena = arenas_[random_.below(arenas_.size())].get();
    size_t page = random_.below(kArenaPages);
    const size_t count = some_pages();
    // Often just behind a run in use, as when a block grows.
    if (!taken_.empty() && random_.one_in(2)) {
      const PageRun& run = taken_[random_.below(taken_.size())];
      if (run.arena == arena) page = run.page + run.count;
    }
    const bool want = model_.is_free(arena->ordinal, page, count);
    ASSERT_EQ(pages_.alloc_at(arena, page, count), want);
    if (!want) return;
    model_.assign(arena->ordinal, page, count, true);
    taken_.push_back({arena, page, count});
  }

  void claim() {
    Arena* const arena = arenas_[random_.below(arenas_.size())].get();
    const size_t first = random_.below(kArenaPages / 64) * 64;
    uint64_t want = 0;
    for (size_t i = 0; i < 64; ++i) {
      if (!model_.arenas[arena->ordinal][first + i].taken) want |= uint64_t{1} << i;
    }
    ASSERT_EQ(pages_.claim(arena, first), want);
    for (size_t i = 0; i < 64; ++i) {
      if ((want >> i & 1) == 0) continue;
      model_.assign(arena->ordinal, first + i, 1, true);
      taken_.push_back({arena, first + i, 1});
    }
  }

  void purge() {
    const size_t most = random_.size_up_to(kChunkPages);
    const Model::Place last = model_.last_dirty();
    const PageRun run = pages_.find_dirty(most);
    ASSERT_EQ(run.arena != nullptr, last.found);
    if (!last.found) return;
    ASSERT_EQ(ordinal(run.arena), last.arena);
    ASSERT_EQ(run.page / kChunkPages, last.page / kChunkPages);
    ASSERT_GE(run.count, 1U);
    ASSERT_LE(run.count, most);
    for (size_t p = run.page; p < run.page + run.count; ++p) ASSERT_TRUE(model_.is_dirty(last.arena, p));
    if (random_.one_in(4)) return;  // the system refuses at times
    ASSERT_TRUE(pages_.alloc_at(run.arena, run.page, run.count));
    run.arena->scavenged.set(run.page, run.count);
    for (size_t p = run.page; p < run.page + run.count; ++p) model_.arenas[last.arena][p].scavenged = true;
    pages_.free(run);
  }

  void check_totals() {
    size_t free_pages = 0;
    size_t dirty = 0;
    for (size_t a = 0; a < arenas_.size(); ++a) {
      for (size_t p = 0; p < kArenaPages; ++p) {
        ASSERT_EQ(arenas_[a]->allocated.test(p), model_.arenas[a][p].taken);
        if (!model_.arenas[a][p].taken) ++free_pages;
        if (model_.is_dirty(a, p)) ++dirty;
      }
    }
    ASSERT_EQ(pages_.free_pages(), free_pages);
    ASSERT_EQ(pages_.dirty_pages(), dirty);
  }

  test::Random random_;
  PageAlloc pages_;
  std::vector<std::unique_ptr<Arena>> arenas_;
  Model model_;
  std::vector<PageRun> taken_;
};

TEST_F(PageAllocModel, TwoArenasVerifiedAtEachStep) { run(2, test::rounds(4000), 1); }
TEST_F(PageAllocModel, AFewArenas) { run(5, test::rounds(20'000), 100); }
TEST_F(PageAllocModel, SeveralGroupsOfArenas) { run(200, test::rounds(4000), 1000); }

}  // namespace
}  // namespace tri
