// channels.cc - Activities of channels, select and contexts.
#include <sys/socket.h>

#include <memory>

#include "work.h"

namespace stress {
namespace {

constexpr size_t kCapacities[] = {0, 0, 1, 2, 7, 64, 1000};
constexpr size_t kSizes[] = {8, 16, 40, 200};
constexpr size_t kMostBytes = 200;

size_t any_capacity(Random& random) { return kCapacities[random.below(sizeof kCapacities / sizeof *kCapacities)]; }

struct Head {
  uint32_t producer;
  uint32_t number;
};

void fill(unsigned char* value, size_t size, Head head) {
  memcpy(value, &head, sizeof head);
  for (size_t i = sizeof head; i < size; ++i)
    value[i] = static_cast<unsigned char>(head.number * 7 + head.producer + i);
}

Head check(const unsigned char* value, size_t size) {
  Head head;
  memcpy(&head, value, sizeof head);
  for (size_t i = sizeof head; i < size; ++i) {
    STRESS_EQ(value[i], static_cast<unsigned char>(head.number * 7 + head.producer + i));
  }
  return head;
}

}  // namespace

// Producers and consumers of one channel: each value comes once, whole, and each producer's in order.
void pipeline(Random& random) {
  const size_t size = kSizes[random.below(sizeof kSizes / sizeof *kSizes)];
  const size_t producers = 1 + random.below(4);
  const size_t consumers = 1 + random.below(4);
  const auto values = static_cast<uint32_t>(1 + random.below(300));
  tri_chan* const chan = tri_chan_new(size, any_capacity(random));
  STRESS_CHECK(chan != nullptr);
  std::atomic<size_t> received{0};
  Crew receive(random);
  for (size_t c = 0; c < consumers; ++c) {
    receive.go([=, &received](Random& r) {
      std::vector<long> last(producers, -1);
      unsigned char value[kMostBytes];
      for (;;) {
        const int result = tri_chan_recv(chan, value, any_deadline(r));
        if (try_again(result)) continue;
        if (result == -EPIPE) break;
        STRESS_EQ(result, 0);
        const Head head = check(value, size);
        STRESS_CHECK(head.producer < producers);
        STRESS_CHECK(long{head.number} > last[head.producer]);
        last[head.producer] = head.number;
        ++received;
        perhaps_pause(r);
      }
      for (size_t i = 0; i < size; ++i) STRESS_EQ(value[i], 0);
    });
  }
  {
    Crew send(random);
    for (uint32_t p = 0; p < producers; ++p) {
      send.go([=](Random& r) {
        unsigned char value[kMostBytes];
        for (uint32_t n = 0; n < values; ++n) {
          fill(value, size, {p, n});
          while (const int result = tri_chan_send(chan, value, any_deadline(r))) STRESS_CHECK(try_again(result));
          perhaps_pause(r);
        }
      });
    }
  }
  tri_chan_close(chan);
  unsigned char value[kMostBytes] = {};
  STRESS_EQ(tri_chan_send(chan, value, any_deadline(random)), -EPIPE);
  receive.join();
  STRESS_EQ(received.load(), producers * values);
  tri_chan_unref(chan);
}

// Selects over many channels in both directions, a descriptor, a moment and a context: each value arrives once.
void choose(Random& random) {
  const size_t n = 1 + random.below(random.one_in(5) ? 40 : 6);
  const size_t total = 50 + random.below(400);
  const size_t senders = 1 + random.below(3);
  const size_t receivers = 1 + random.below(3);
  std::vector<tri_chan*> chans(n);
  for (tri_chan*& c : chans) STRESS_CHECK((c = tri_chan_new(sizeof(uint64_t), any_capacity(random))) != nullptr);
  const auto seen = std::make_unique<std::atomic<unsigned char>[]>(total);
  std::atomic<uint64_t> next{0};
  std::atomic<size_t> bytes_read{0};
  std::atomic<size_t> bytes_written{0};
  int fds[2];
  STRESS_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  tri_ctx* const over = tri_ctx_new(nullptr, TRI_FOREVER);
  STRESS_CHECK(over != nullptr);

  const auto note = [&](uint64_t v) {
    STRESS_CHECK(v < total);
    STRESS_EQ(seen[v].fetch_add(1), 0);
  };
  const auto drain = [&] {
    char buffer[64];
    const ssize_t r = tri_read(fds[0], buffer, sizeof buffer, 0);
    if (r == -EAGAIN) return;
    STRESS_CHECK(r > 0);
    bytes_read += static_cast<size_t>(r);
  };
  Crew receive(random);
  for (size_t k = 0; k < receivers; ++k) {
    receive.go_task([&](Random& r) {
      std::vector<tri_case> cases(n + 3);
      uint64_t got = 0;
      for (bool is_over = false;;) {
        for (size_t i = 0; i < n; ++i) cases[i] = TRI_RECV(chans[i], &got);
        cases[n] = TRI_DONE(is_over ? nullptr : over);
        cases[n + 1] = TRI_READABLE(r.one_in(2) ? fds[0] : -1);
        cases[n + 2] = TRI_AFTER(r.one_in(4) ? tri_after(static_cast<int64_t>(r.below(200'000))) : TRI_FOREVER);
        // Once all is sent, what is left is had without waiting.
        const int i = tri_select(cases.data(), cases.size(), is_over ? 0 : any_deadline(r));
        if (is_over && i == -EAGAIN) break;
        if (try_again(i)) continue;
        STRESS_CHECK(i >= 0);
        const auto which = static_cast<size_t>(i);
        if (which < n) note(got);
        if (which == n) is_over = true;
        if (which == n + 1) drain();
        perhaps_pause(r);
      }
    });
  }
  {
    Crew send(random);
    for (size_t k = 0; k < senders; ++k) {
      send.go_task([&](Random& r) {
        std::vector<tri_case> cases(n + 2);
        for (;;) {
          uint64_t v = next.fetch_add(1);
          if (v >= total) break;
          for (;;) {
            for (size_t i = 0; i < n; ++i) cases[i] = TRI_SEND(i != 0 && r.one_in(8) ? nullptr : chans[i], &v);
            cases[n] = TRI_WRITABLE(r.one_in(4) ? fds[1] : -1);
            cases[n + 1] = TRI_AFTER(r.one_in(4) ? tri_after(100'000) : TRI_FOREVER);
            const int i = tri_select(cases.data(), cases.size(), any_deadline(r));
            if (try_again(i)) continue;
            STRESS_CHECK(i >= 0);
            if (static_cast<size_t>(i) < n) break;
            if (static_cast<size_t>(i) == n && tri_write(fds[1], "x", 1, 0) == 1) ++bytes_written;
          }
          perhaps_pause(r);
        }
      });
    }
  }
  tri_ctx_cancel(over);
  receive.join();
  for (size_t v = 0; v < total; ++v) STRESS_EQ(seen[v].load(), 1);
  while (bytes_read < bytes_written) drain();
  STRESS_EQ(bytes_read.load(), bytes_written.load());
  tri_ctx_unref(over);
  STRESS_EQ(tri_close(fds[0]), 0);
  STRESS_EQ(tri_close(fds[1]), 0);
  for (tri_chan* c : chans) tri_chan_unref(c);
}

// Waits of all kinds under a tree of contexts that is cancelled, or runs out of time: every one ends, and tells why.
void cancel(Random& random) {
  const bool by_time = random.one_in(3);
  const tri_time ends = tri_after(static_cast<int64_t>(random.below(2'000'000)));
  tri_ctx* const root = tri_ctx_new(nullptr, by_time ? ends : TRI_FOREVER);
  tri_ctx* const child = tri_ctx_new(root, TRI_FOREVER);
  STRESS_CHECK(root != nullptr && child != nullptr);
  tri_chan* const chan = tri_chan_new(8, 0);
  tri_mutex mutex = {};
  tri_sem sem = {};
  tri_wg wg = {};
  int fds[2];
  STRESS_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  tri_mutex_lock(&mutex);
  tri_wg_add(&wg, 1);
  const long reason = by_time ? -ETIMEDOUT : -ECANCELED;
  Crew crew(random);
  const size_t n = 1 + random.below(12);
  for (size_t i = 0; i < n; ++i) {
    crew.go([&, i](Random& r) {
      tri_ctx* const mine = r.one_in(2) ? root : child;
      tri_ctx* const before = tri_ctx_attach(mine);
      uint64_t v = 0;
      char c;
      long result = 0;
      switch (i % 8) {
        case 0:
          result = tri_chan_recv(chan, &v, TRI_FOREVER);
          break;
        case 1:
          result = tri_sleep_until(TRI_FOREVER);
          break;
        case 2:
          result = tri_mutex_lock_until(&mutex, TRI_FOREVER);
          break;
        case 3:
          result = tri_sem_acquire(&sem, 1, TRI_FOREVER);
          break;
        case 4:
          result = tri_wg_wait(&wg, TRI_FOREVER);
          break;
        case 5:
          result = tri_read(fds[0], &c, 1, TRI_FOREVER);
          break;
        case 6: {
          tri_case cases[] = {TRI_RECV(chan, &v), TRI_READABLE(fds[0])};
          result = tri_select(cases, 2, TRI_FOREVER);
          break;
        }
        default: {
          tri_ctx_attach(before);
          tri_case cases[] = {TRI_DONE(mine), TRI_READABLE(fds[1])};
          STRESS_EQ(tri_select(cases, 2, TRI_FOREVER), 0);
          STRESS_EQ(tri_ctx_wait(mine, TRI_FOREVER), 0);
          result = reason;
        }
      }
      tri_ctx_attach(before);
      // A sleep that its context ends has not slept until its own deadline.
      if (by_time && i % 8 == 1 && result == 0) result = reason;
      STRESS_EQ(result, reason);
      STRESS_EQ(tri_ctx_err(mine), reason);
    });
  }
  perhaps_pause(random);
  if (random.one_in(2)) STRESS_EQ(tri_sleep(static_cast<int64_t>(random.below(500'000))), 0);
  if (!by_time) tri_ctx_cancel(root);
  crew.join();
  tri_mutex_unlock(&mutex);
  STRESS_EQ(tri_close(fds[0]), 0);
  STRESS_EQ(tri_close(fds[1]), 0);
  tri_chan_unref(chan);
  tri_ctx_unref(child);
  tri_ctx_unref(root);
}

}  // namespace stress
