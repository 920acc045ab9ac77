// tasks.cc - Activities that start, end, block and hog.
#include <fenv.h>
#include <time.h>

#include "work.h"

namespace stress {
namespace {

void sleep_in_kernel(long ns) {
  timespec t{0, ns};
  while (nanosleep(&t, &t) != 0) {
  }
}

/// Number of nodes of a tree that tasks walk, each starting its children.
long grow(Random& random, unsigned depth) {
  if (depth == 0) return 1;
  const size_t children = random.below(4);
  std::vector<long> counts(children, 0);
  {
    Crew crew(random);
    for (long& count : counts) crew.go([&count, depth](Random& r) { count = grow(r, depth - 1); });
  }
  long sum = 1;
  for (const long count : counts) {
    STRESS_CHECK(count > 0);
    sum += count;
  }
  return sum;
}

}  // namespace

void tree(Random& random) { STRESS_CHECK(grow(random, 1 + static_cast<unsigned>(random.below(5))) > 0); }

// Many that end at once, some by tri_exit(), with arguments that are copied; joined before, at and after their end.
void burst(Random& random) {
  struct Job {
    tri_wg* done;
    std::atomic<uint64_t>* sum;
    uint64_t values[8];
  };
  static_assert(sizeof(Job) <= 128);
  tri_wg done = {};
  std::atomic<uint64_t> sum{0};
  uint64_t expected = 0;
  const size_t n = 1 + random.below(random.one_in(10) ? 2000 : 100);
  tri_wg_add(&done, static_cast<int>(n));
  for (size_t i = 0; i < n; ++i) {
    Job job = {&done, &sum, {}};
    for (uint64_t& v : job.values) expected += v = random.below(1000);
    const auto run = [](void* p) {
      auto* const j = static_cast<Job*>(p);
      STRESS_CHECK(tri_local_get(1) == nullptr);
      STRESS_EQ(tri_local_set(1, j), 0);
      STRESS_EQ(tri_defer([](void* wg) { tri_wg_done(static_cast<tri_wg*>(wg)); }, j->done), 0);
      for (const uint64_t v : j->values) j->sum->fetch_add(v);
      if (j->values[0] % 2 == 0) tri_exit();
      if (j->values[0] % 5 == 0) tri_yield();
    };
    STRESS_EQ(tri_go_copy(run, &job, sizeof job), 0);
  }
  while (try_again(tri_wg_wait(&done, any_deadline(random)))) {
  }
  STRESS_EQ(sum.load(), expected);

  std::atomic<bool> ended{false};
  tri_task id = 0;
  STRESS_EQ(tri_spawn(
                &id,
                [](void* p) {
                  tri_sleep(50'000);
                  static_cast<std::atomic<bool>*>(p)->store(true);
                },
                &ended, nullptr),
            0);
  Crew crew(random);
  for (int i = 0; i < 3; ++i) {
    crew.go([id, &ended](Random& r) {
      while (try_again(tri_join(id, any_deadline(r)))) {
      }
      STRESS_CHECK(ended.load());
    });
  }
  crew.join();
  STRESS_EQ(tri_join(id, 0), 0);
}

// Computes without a call, for several slices of time; what the interruptions must not touch is checked.
void hog(Random& random) {
  const int mode = random.one_in(2) ? FE_UPWARD : FE_TONEAREST;
  fesetround(mode);
  const uint64_t seed = random.next();
  const size_t turns = 200'000 + random.below(4'000'000);
  errno = static_cast<int>(seed % 100);
  double sum = 0;
  Random mine(seed);
  for (size_t i = 0; i < turns; ++i) sum += static_cast<double>(mine.next() >> 40) * 1e-3;
  STRESS_EQ(errno, seed % 100);
  STRESS_EQ(fegetround(), mode);
  double again = 0;
  Random same(seed);
  for (size_t i = 0; i < turns; ++i) again += static_cast<double>(same.next() >> 40) * 1e-3;
  STRESS_CHECK(sum == again);
  fesetround(FE_TONEAREST);
  tri_yield();
}

// Regions that block for nothing, for a moment, and for longer than a slice; nested; on the thread's stack.
void blocking(Random& random) {
  Crew crew(random);
  tri_wg woken = {};
  const size_t n = 1 + random.below(12);
  tri_wg_add(&woken, static_cast<int>(n));
  for (size_t i = 0; i < n; ++i) {
    crew.go([&woken](Random& r) {
      for (int k = 0; k < 5; ++k) {
        tri_blocking_begin();
        if (r.one_in(3)) tri_blocking_begin(), tri_blocking_end();
        if (r.one_in(2)) sleep_in_kernel(static_cast<long>(r.below(r.one_in(10) ? 20'000'000 : 200'000)));
        if (k == 2) tri_wg_done(&woken);  // to wake is allowed
        tri_blocking_end();
        perhaps_pause(r);
      }
      size_t touched = 0;
      tri_blocking(
          [](void* p) {
            volatile char room[200'000];
            for (size_t at = 0; at < sizeof room; at += 4096) room[at] = 1, ++*static_cast<size_t*>(p);
            sleep_in_kernel(100'000);
          },
          &touched);
      STRESS_EQ(touched, 200'000 / 4096 + 1);
    });
  }
  STRESS_EQ(tri_wg_wait(&woken, TRI_FOREVER), 0);
}

// Threads that come, use everything, and go: their stand-ins are used again.
void outsiders(Random& random) {
  tri_chan* const to = tri_chan_new(sizeof(uint64_t), random.below(3));
  tri_chan* const back = tri_chan_new(sizeof(uint64_t), random.below(3));
  Crew crew(random);
  const size_t n = 1 + random.below(3);
  for (size_t i = 0; i < n; ++i) {
    crew.go_thread([=](Random& r) {
      STRESS_CHECK(tri_local_get(0) == nullptr);
      STRESS_EQ(tri_local_set(0, to), 0);
      for (int k = 0; k < 20; ++k) {
        const uint64_t v = r.next();
        STRESS_EQ(tri_chan_send(to, &v, TRI_FOREVER), 0);
        uint64_t answer = 0;
        STRESS_EQ(tri_chan_recv(back, &answer, TRI_FOREVER), 0);
        STRESS_EQ(answer & 1, 1);
        perhaps_pause(r);
      }
    });
  }
  crew.go_task([=](Random& r) {
    for (size_t k = 0; k < 20 * n; ++k) {
      uint64_t v = 0;
      STRESS_EQ(tri_chan_recv(to, &v, TRI_FOREVER), 0);
      v |= 1;
      STRESS_EQ(tri_chan_send(back, &v, TRI_FOREVER), 0);
      perhaps_pause(r);
    }
  });
  crew.join();
  // A thread is a task, too, and may be waited for.
  tri_task thread_id = 0;
  std::thread plain([&] { thread_id = tri_self(); });
  tri_blocking_begin();
  plain.join();
  tri_blocking_end();
  STRESS_EQ(tri_join(thread_id, TRI_FOREVER), 0);
  tri_chan_unref(to);
  tri_chan_unref(back);
}

// libc's own locks and buffers, held by goroutines that are interrupted.
void stdio(Random& random) {
  static FILE* const null = fopen("/dev/null", "w");
  STRESS_CHECK(null != nullptr);
  Crew crew(random);
  for (int i = 0; i < 2; ++i) {
    crew.go_task(
        [](Random& r) {
          for (size_t k = 0; k < 500; ++k) {
            char text[64];
            const size_t number = r.below(1'000'000);
            const int length = snprintf(text, sizeof text, "%zu", number);
            STRESS_CHECK(fprintf(null, "%zu a line of some length\n", number) == length + 23);
            STRESS_EQ(strtoul(text, nullptr, 10), number);
          }
        },
        size_t{128} << 10);
  }
}

}  // namespace stress
