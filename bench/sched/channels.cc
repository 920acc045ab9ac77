// channels.cc - What it costs to talk: channels, select, mutex. Through the C ABI alone.
//
// Usage: channels PROCS TEST...    pp0 pp128 pc0 pc128 select0 select128 mutex
// Prints "test name value unit", best of five. go/channels.go is the same in Go.
#include <tri.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kRepeats = 5;
constexpr int kRounds = 1'000'000;

double seconds() { return static_cast<double>(tri_now()) * 1e-9; }

struct Pair {
  tri_chan* to;
  tri_chan* back;
};

// ---- ping-pong: a value there, a value back -------------------------------------------------------------------------

void ponger(void* arg) {
  const auto* const p = static_cast<Pair*>(arg);
  int64_t v;
  while (tri_chan_recv(p->to, &v, TRI_FOREVER) == 0) tri_chan_send(p->back, &v, TRI_FOREVER);
}

void pinger(void* arg) {
  const auto* const p = static_cast<Pair*>(arg);
  int64_t v = 0;
  for (int i = 0; i < kRounds; ++i) {
    tri_chan_send(p->to, &v, TRI_FOREVER);
    tri_chan_recv(p->back, &v, TRI_FOREVER);
  }
  tri_chan_close(p->to);
}

double ping_pong(size_t capacity) {
  Pair p = {tri_chan_new(8, capacity), tri_chan_new(8, capacity)};
  const double start = seconds();
  tri_task a;
  tri_task b;
  tri_spawn(&a, ponger, &p, nullptr);
  tri_spawn(&b, pinger, &p, nullptr);
  tri_join(a, TRI_FOREVER);
  tri_join(b, TRI_FOREVER);
  const double ns = (seconds() - start) / kRounds * 1e9;
  tri_chan_unref(p.to);
  tri_chan_unref(p.back);
  return ns;
}

// ---- producer and consumer ------------------------------------------------------------------------------------------

void producer(void* arg) {
  for (int64_t i = 0; i < kRounds; ++i) tri_chan_send(static_cast<tri_chan*>(arg), &i, TRI_FOREVER);
  tri_chan_close(static_cast<tri_chan*>(arg));
}

void consumer(void* arg) {
  int64_t sum = 0;
  int64_t v;
  while (tri_chan_recv(static_cast<tri_chan*>(arg), &v, TRI_FOREVER) == 0) sum += v;
  if (sum != int64_t{kRounds} * (kRounds - 1) / 2) abort();
}

double produce_consume(size_t capacity) {
  tri_chan* const c = tri_chan_new(8, capacity);
  const double start = seconds();
  tri_task a;
  tri_task b;
  tri_spawn(&a, consumer, c, nullptr);
  tri_spawn(&b, producer, c, nullptr);
  tri_join(a, TRI_FOREVER);
  tri_join(b, TRI_FOREVER);
  const double ns = (seconds() - start) / kRounds * 1e9;
  tri_chan_unref(c);
  return ns;
}

// ---- select: one receives from four, to each of which one sends ------------------------------------------------------

void sender(void* arg) {
  for (int64_t i = 0; i < kRounds / 4; ++i) tri_chan_send(static_cast<tri_chan*>(arg), &i, TRI_FOREVER);
}

void selector(void* arg) {
  auto* const c = static_cast<tri_chan**>(arg);
  int64_t v;
  for (int i = 0; i < kRounds; ++i) {
    tri_case cases[] = {TRI_RECV(c[0], &v), TRI_RECV(c[1], &v), TRI_RECV(c[2], &v), TRI_RECV(c[3], &v)};
    if (tri_select(cases, 4, TRI_FOREVER) < 0) abort();
  }
}

double select_four(size_t capacity) {
  tri_chan* c[4];
  tri_task tasks[5];
  for (auto& one : c) one = tri_chan_new(8, capacity);
  const double start = seconds();
  tri_spawn(&tasks[4], selector, c, nullptr);
  for (int i = 0; i < 4; ++i) tri_spawn(&tasks[i], sender, c[i], nullptr);
  for (const tri_task t : tasks) tri_join(t, TRI_FOREVER);
  const double ns = (seconds() - start) / kRounds * 1e9;
  for (tri_chan* one : c) tri_chan_unref(one);
  return ns;
}

// ---- mutex: nobody else wants it ------------------------------------------------------------------------------------

void locker(void* arg) {
  auto* const m = static_cast<tri_mutex*>(arg);
  for (int i = 0; i < kRounds * 10; ++i) {
    tri_mutex_lock(m);
    tri_mutex_unlock(m);
  }
}

double mutex() {
  tri_mutex m = {};
  const double start = seconds();
  tri_task t;
  tri_spawn(&t, locker, &m, nullptr);
  tri_join(t, TRI_FOREVER);
  return (seconds() - start) / (kRounds * 10.0) * 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  tri_procs(atoi(argv[1]));
  for (int i = 2; i < argc; ++i) {
    const char* const test = argv[i];
    double best = 1e300;
    for (int k = 0; k < kRepeats; ++k) {
      const double ns = strcmp(test, "pp0") == 0         ? ping_pong(0)
                        : strcmp(test, "pp128") == 0     ? ping_pong(128)
                        : strcmp(test, "pc0") == 0       ? produce_consume(0)
                        : strcmp(test, "pc128") == 0     ? produce_consume(128)
                        : strcmp(test, "select0") == 0   ? select_four(0)
                        : strcmp(test, "select128") == 0 ? select_four(128)
                        : strcmp(test, "mutex") == 0     ? mutex()
                                                         : -1;
      if (ns < 0) return 2;
      if (ns < best) best = ns;
    }
    printf("%s best %.1f ns\n", test, best);
  }
  return 0;
}
