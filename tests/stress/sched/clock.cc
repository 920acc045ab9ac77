// clock.cc - Activities of timers, tickers and sleep: never early, never lost.
#include <algorithm>

#include "work.h"

namespace stress {
namespace {

// A goroutine that a timer has started may outlive the timer by any time, so what it writes to lives for ever.
constexpr size_t kCells = 4096;
std::atomic<uint64_t> g_fired[kCells];
std::atomic<size_t> g_next_cell{0};

std::atomic<uint64_t>* new_cell() { return &g_fired[g_next_cell.fetch_add(1) % kCells]; }

void count(void* cell) { static_cast<std::atomic<uint64_t>*>(cell)->fetch_add(1); }

}  // namespace

void timers(Random& random) {
  struct Shot {
    tri_timer timer = TRI_TIMER_INIT;
    std::atomic<tri_time> when{0};
    std::atomic<long> fired{0};
    static void fire(void* p) {
      auto* const s = static_cast<Shot*>(p);
      STRESS_CHECK(tri_now() >= s->when);
      ++s->fired;
    }
  };
  // Either it was stopped in time and never fires, or it fires once.
  std::vector<Shot> shots(1 + random.below(30));
  for (Shot& s : shots) {
    s.when = tri_after(static_cast<int64_t>(random.below(1'000'000)));
    STRESS_EQ(tri_timer_start(&s.timer, s.when, 0, Shot::fire, &s), 0);
  }
  tri_timer ticker = TRI_TIMER_INIT;
  std::atomic<uint64_t>* const ticks = new_cell();
  const uint64_t before = *ticks;
  STRESS_EQ(tri_timer_start(&ticker, tri_now(), 20'000 + static_cast<int64_t>(random.below(300'000)), count, ticks), 0);
  perhaps_pause(random);
  for (Shot& s : shots) {
    long wanted = 1;
    tri_time earliest = s.when;
    if (random.one_in(3)) {
      wanted = tri_timer_stop(&s.timer) == 1 ? 0 : 1;
    } else if (random.one_in(4)) {
      // Moved, or started once more after it has fired.
      earliest = tri_after(100'000);
      s.when = std::min(s.when.load(), earliest);
      const int was_running = tri_timer_reset(&s.timer, earliest);
      STRESS_CHECK(was_running >= 0);
      wanted = 2 - was_running;
    }
    while (s.fired < wanted) STRESS_EQ(tri_sleep(50'000), 0);
    STRESS_EQ(s.fired.load(), wanted);
    STRESS_CHECK(wanted == 0 || tri_now() >= earliest);
  }
  const uint64_t wanted = before + 1 + random.below(4);
  while (*ticks < wanted) STRESS_EQ(tri_sleep(50'000), 0);
  (void)tri_timer_stop(&ticker);
  STRESS_EQ(tri_timer_stop(&ticker), 0);
}

void sleeps(Random& random) {
  Crew crew(random);
  for (size_t i = 1 + random.below(50); i != 0; --i) {
    crew.go([](Random& r) {
      for (int k = 0; k < 4; ++k) {
        const tri_time until = tri_after(static_cast<int64_t>(r.below(r.one_in(20) ? 20'000'000 : 300'000)));
        STRESS_EQ(tri_sleep_until(until), 0);
        STRESS_CHECK(tri_now() >= until);
      }
    });
  }
}

}  // namespace stress
