// locks.cc - Activities of what locks and counts: whoever is in is alone, and nobody is forgotten.
#include <deque>
#include <memory>

#include "work.h"

namespace stress {

// A pair that is equal whenever nobody is in.
void mutexes(Random& random) {
  tri_mutex mutex = {};
  long a = 0;
  long b = 0;
  std::atomic<long> turns{0};
  {
    Crew crew(random);
    for (size_t i = 2 + random.below(8); i != 0; --i) {
      crew.go([&](Random& r) {
        for (int k = 0; k < 100; ++k) {
          if (r.one_in(3)) {
            while (const int result = tri_mutex_lock_until(&mutex, any_deadline(r))) STRESS_CHECK(try_again(result));
          } else {
            tri_mutex_lock(&mutex);
          }
          STRESS_EQ(a, b);
          ++a;
          perhaps_pause(r);
          ++b;
          tri_mutex_unlock(&mutex);
          ++turns;
        }
      });
    }
  }
  STRESS_EQ(a, turns.load());
  STRESS_EQ(tri_mutex_lock_until(&mutex, 0), 0);
}

void rwlocks(Random& random) {
  tri_rwlock lock = {};
  long a = 0;
  long b = 0;
  std::atomic<int> readers{0};
  Crew crew(random);
  for (size_t i = 2 + random.below(8); i != 0; --i) {
    crew.go([&](Random& r) {
      for (int k = 0; k < 60; ++k) {
        if (r.one_in(4)) {
          while (const int result = tri_rwlock_write_lock_until(&lock, any_deadline(r)))
            STRESS_CHECK(try_again(result));
          STRESS_EQ(readers.load(), 0);
          ++a;
          perhaps_pause(r);
          ++b;
          tri_rwlock_write_unlock(&lock);
        } else {
          while (const int result = tri_rwlock_read_lock_until(&lock, any_deadline(r))) STRESS_CHECK(try_again(result));
          ++readers;
          STRESS_EQ(a, b);
          perhaps_pause(r);
          STRESS_EQ(a, b);
          --readers;
          tri_rwlock_read_unlock(&lock);
        }
      }
    });
  }
}

// A bounded queue made of a mutex and two conditions; one more condition that all are called by.
void conditions(Random& random) {
  struct Queue {
    tri_mutex mutex = {};
    tri_cond not_empty = {};
    tri_cond not_full = {};
    tri_cond done = {};
    std::deque<size_t> items;
    bool ended = false;
  } q;
  static constexpr size_t kRoom = 3;
  const size_t producers = 1 + random.below(3);
  const size_t each = 1 + random.below(100);
  std::atomic<size_t> sum{0};
  // Each wait holds the mutex again at its end, however it ended.
  const auto wait = [&](tri_cond* c, Random& r) {
    const int result = tri_cond_wait(c, &q.mutex, r.one_in(3) ? tri_after(100'000) : TRI_FOREVER);
    STRESS_CHECK(result == 0 || result == -ETIMEDOUT);
  };
  Crew all(random);
  for (int i = 0; i < 2; ++i) {
    all.go([&](Random& r) {
      tri_mutex_lock(&q.mutex);
      for (;;) {
        while (q.items.empty() && !q.ended) wait(&q.not_empty, r);
        if (q.items.empty()) break;
        sum += q.items.front();
        q.items.pop_front();
        tri_cond_signal(&q.not_full);
      }
      tri_mutex_unlock(&q.mutex);
    });
    all.go([&](Random& r) {
      tri_mutex_lock(&q.mutex);
      while (!q.ended) wait(&q.done, r);
      tri_mutex_unlock(&q.mutex);
    });
  }
  {
    Crew produce(random);
    for (size_t p = 0; p < producers; ++p) {
      produce.go([&](Random& r) {
        for (size_t i = 1; i <= each; ++i) {
          tri_mutex_lock(&q.mutex);
          while (q.items.size() == kRoom) wait(&q.not_full, r);
          q.items.push_back(i);
          tri_mutex_unlock(&q.mutex);
          tri_cond_signal(&q.not_empty);
          perhaps_pause(r);
        }
      });
    }
  }
  tri_mutex_lock(&q.mutex);
  q.ended = true;
  tri_cond_broadcast(&q.not_empty);
  tri_cond_broadcast(&q.done);
  tri_mutex_unlock(&q.mutex);
  all.join();
  STRESS_EQ(sum.load(), producers * (each * (each + 1) / 2));
}

void semaphores(Random& random) {
  const auto permits = static_cast<uint32_t>(1 + random.below(4));
  tri_sem sem = TRI_SEM_INIT(permits);
  std::atomic<uint32_t> in{0};
  {
    Crew crew(random);
    for (size_t i = 2 + random.below(8); i != 0; --i) {
      crew.go([&](Random& r) {
        for (int k = 0; k < 60; ++k) {
          const auto n = static_cast<uint32_t>(1 + r.below(permits));
          while (const int result = tri_sem_acquire(&sem, n, any_deadline(r))) STRESS_CHECK(try_again(result));
          STRESS_CHECK(in.fetch_add(n) + n <= permits);
          perhaps_pause(r);
          in -= n;
          tri_sem_release(&sem, n);
        }
      });
    }
  }
  STRESS_EQ(tri_sem_acquire(&sem, permits, 0), 0);
  STRESS_EQ(tri_sem_acquire(&sem, 1, 0), -EAGAIN);
}

// The waitgroup's memory goes as soon as it was waited for, and a once's function runs once, before anybody goes on.
void waitgroups(Random& random) {
  for (int round = 0; round < 10; ++round) {
    const auto wg = std::make_unique<tri_wg>();
    const auto once = std::make_unique<tri_once>();
    *wg = {};
    *once = {};
    std::atomic<int> calls{0};
    const auto n = static_cast<int>(1 + random.below(8));
    tri_wg_add(wg.get(), n);
    Crew crew(random);
    for (int i = 0; i < n; ++i) {
      crew.go([&, group = wg.get(), o = once.get()](Random& r) {
        const auto call = [](void* p) {
          tri_sleep(20'000);
          static_cast<std::atomic<int>*>(p)->fetch_add(1);
        };
        if (r.one_in(2)) {
          tri_once_do(o, call, &calls);
        } else {
          while (const int result = tri_once_do_until(o, call, &calls, any_deadline(r)))
            STRESS_CHECK(try_again(result));
        }
        STRESS_EQ(calls.load(), 1);
        tri_wg_done(group);
      });
    }
    while (const int result = tri_wg_wait(wg.get(), any_deadline(random))) STRESS_CHECK(try_again(result));
    STRESS_EQ(calls.load(), 1);
  }
}

}  // namespace stress
