// sleepers_test.cc - Tests of goroutines that nothing can wake, by a program that links the library.
//
// Each kind of wait three times: what is waited for is lost, so it is reported; a global variable knows it, so it is not; and
// whoever knows it is another goroutine that is itself waiting.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <tri.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

[[gnu::noinline]] void overwrite_stack() {
  volatile char space[12 * 1024];
  for (volatile char& c : space) c = 0;
}

template <class Fn>
[[gnu::noinline]] void apart(Fn&& fn) {
  fn();
}

// What the program knows.
void* volatile known = nullptr;

// The frames of the search lie where the stack was overwritten: what they do not use of it would else keep words of calls before.
[[gnu::noinline]] bool search(tri_task task) {
  struct Search {
    tri_task task;
    bool found;
  } search{task, false};
  EXPECT_EQ(tri_leaked_tasks(
                [](uint64_t id, void* arg) {
                  auto* const s = static_cast<Search*>(arg);
                  s->found |= id == s->task;
                  return 0;
                },
                &search),
            0);
  return search.found;
}
[[gnu::noinline]] bool is_leaked(tri_task task) {
  overwrite_stack();
  const bool found = search(task);
  asm volatile("" ::: "memory");  // no tail call
  return found;
}

[[gnu::noinline]] size_t count() {
  size_t found = 0;
  EXPECT_EQ(tri_leaked_tasks(
                [](uint64_t, void* arg) {
                  ++*static_cast<size_t*>(arg);
                  return 0;
                },
                &found),
            0);
  return found;
}
[[gnu::noinline]] size_t count_leaked() {
  overwrite_stack();
  const size_t found = count();
  asm volatile("" ::: "memory");
  return found;
}

tri_task spawn(void (*fn)(void*), void* arg, const char* name = nullptr) {
  tri_task task = 0;
  struct tri_attr attr = {};
  attr.size = sizeof attr;
  attr.name = name;
  EXPECT_EQ(tri_spawn(&task, fn, arg, &attr), 0);
  return task;
}

// How many have begun to wait is not to be seen from outside; it is a matter of microseconds. The goroutine that waits here is also the last
// to leave its thread: where a thread was left by another, its registers may still know what that one waits for.
void let_them_wait() {
  const tri_task last = spawn([](void*) { tri_sleep(TRI_MS(50)); }, nullptr);
  EXPECT_EQ(tri_join(last, tri_after(TRI_S(60))), 0);
}

/// Runs fn in a goroutine: what it leaves on its stack is not looked at once it is over.
template <class Fn>
void in_goroutine(Fn fn) {
  const tri_task task = spawn([](void* arg) { (*static_cast<Fn*>(arg))(); }, &fn);
  EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
}

/// A kind of wait: makes what is waited for, of the heap; waits for it; and ends the wait.
struct Kind {
  const char* name;
  void* (*make)();
  void (*wait)(void* object);
  void (*end)(void* object);
};

// Of a size that nothing else here has: the address must not have been another block's before, which stale words remember.
constexpr size_t kUnusual = 3000;
template <class T>
void* make_zeroed() {
  static_assert(sizeof(T) <= kUnusual);
  return calloc(1, kUnusual);
}
tri_chan* make_chan() { return tri_chan_new(kUnusual, 1); }
char element[kUnusual];

void* make_locked_mutex() {
  void* const m = make_zeroed<tri_mutex>();
  tri_mutex_lock(static_cast<tri_mutex*>(m));
  return m;
}

struct Condition {
  tri_mutex mutex;
  tri_cond cond;
};

const Kind kKinds[] = {
    {"receive", [] { return static_cast<void*>(make_chan()); },
     [](void* o) { (void)tri_chan_recv(static_cast<tri_chan*>(o), nullptr, TRI_FOREVER); },
     [](void* o) { tri_chan_close(static_cast<tri_chan*>(o)); }},
    {"send to a full channel",
     [] {
       tri_chan* const c = make_chan();
       EXPECT_EQ(tri_chan_send(c, element, TRI_FOREVER), 0);
       return static_cast<void*>(c);
     },
     [](void* o) { (void)tri_chan_send(static_cast<tri_chan*>(o), element, TRI_FOREVER); },
     [](void* o) { (void)tri_chan_recv(static_cast<tri_chan*>(o), nullptr, TRI_FOREVER); }},
    {"select", [] { return static_cast<void*>(make_chan()); },
     [](void* o) {
       struct tri_case cases[] = {TRI_RECV(nullptr, nullptr), TRI_RECV(o, nullptr)};
       (void)tri_select(cases, 2, TRI_FOREVER);
     },
     [](void* o) { tri_chan_close(static_cast<tri_chan*>(o)); }},
    {"context", [] { return static_cast<void*>(tri_ctx_new(nullptr, TRI_FOREVER)); },
     [](void* o) {
       struct tri_case cases[] = {TRI_DONE(o)};
       (void)tri_select(cases, 1, TRI_FOREVER);
     },
     [](void* o) { tri_ctx_cancel(static_cast<tri_ctx*>(o)); }},
    {"mutex", make_locked_mutex, [](void* o) { tri_mutex_lock(static_cast<tri_mutex*>(o)); },
     [](void* o) { tri_mutex_unlock(static_cast<tri_mutex*>(o)); }},
    {"rwlock",
     [] {
       void* const l = make_zeroed<tri_rwlock>();
       tri_rwlock_write_lock(static_cast<tri_rwlock*>(l));
       return l;
     },
     [](void* o) { tri_rwlock_read_lock(static_cast<tri_rwlock*>(o)); },
     [](void* o) { tri_rwlock_write_unlock(static_cast<tri_rwlock*>(o)); }},
    {"cond", make_zeroed<Condition>,
     [](void* o) {
       auto* const c = static_cast<Condition*>(o);
       tri_mutex_lock(&c->mutex);
       (void)tri_cond_wait(&c->cond, &c->mutex, TRI_FOREVER);
       tri_mutex_unlock(&c->mutex);
     },
     [](void* o) { tri_cond_broadcast(&static_cast<Condition*>(o)->cond); }},
    {"wait group",
     [] {
       void* const w = make_zeroed<tri_wg>();
       tri_wg_add(static_cast<tri_wg*>(w), 1);
       return w;
     },
     [](void* o) { (void)tri_wg_wait(static_cast<tri_wg*>(o), TRI_FOREVER); },
     [](void* o) { tri_wg_done(static_cast<tri_wg*>(o)); }},
    {"semaphore", make_zeroed<tri_sem>,
     [](void* o) { (void)tri_sem_acquire(static_cast<tri_sem*>(o), 1, TRI_FOREVER); },
     [](void* o) { tri_sem_release(static_cast<tri_sem*>(o), 1); }},
};

struct Job {
  const Kind* kind;
  uintptr_t hidden;  // the object, upside down: the job itself must not know it
  uintptr_t gate;    // upside down as well: waited for first, if there is one
};
// Anew each time: a compiler would else keep it in a register from one use to the next.
[[gnu::noinline]] void* shown(uintptr_t hidden) {
  asm volatile("" : "+r"(hidden));
  return reinterpret_cast<void*>(~hidden);
}

/// The object stands on the goroutine's stack alone.
void wait_for_object(void* arg) {
  auto* const job = static_cast<Job*>(arg);
  void* volatile object = shown(job->hidden);
  if (job->gate != 0) (void)tri_chan_recv(static_cast<tri_chan*>(shown(job->gate)), nullptr, TRI_FOREVER);
  job->kind->wait(object);
  object = nullptr;
}

/// What a test waits for, so that it may be ended at the test's end.
uintptr_t make_hidden(const Kind& kind) {
  uintptr_t hidden = 0;
  in_goroutine([&] { hidden = ~reinterpret_cast<uintptr_t>(kind.make()); });
  return hidden;
}

void close_hidden(uintptr_t hidden) {
  in_goroutine([=] { tri_chan_close(static_cast<tri_chan*>(shown(hidden))); });
}
uintptr_t make_hidden_chan() { return make_hidden(kKinds[2]); }

/// What stands in `known` is known to the program from now on; 0: nothing is.
void know(uintptr_t hidden) {
  in_goroutine([=] { known = hidden == 0 ? nullptr : shown(hidden); });
}

class Sleepers : public testing::TestWithParam<Kind> {
 protected:
  Sleepers() { tri_procs(1); }
  static void end(tri_task task, uintptr_t hidden) {
    in_goroutine([=] { GetParam().end(shown(hidden)); });
    EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
  }
};

// A thread may keep in its registers what the goroutine that left it last waits for. So there are several, and most are found.
constexpr size_t kMany = 8;

size_t count_of(const tri_task (&tasks)[kMany]) {
  size_t n = 0;
  for (const tri_task task : tasks) n += is_leaked(task);
  return n;
}

TEST_P(Sleepers, WaitForGoodWhereNothingKnowsWhatTheyWaitFor) {
  static Job jobs[kMany];
  tri_task tasks[kMany];
  for (size_t i = 0; i < kMany; ++i) {
    jobs[i] = {&GetParam(), make_hidden(GetParam()), 0};
    tasks[i] = spawn(wait_for_object, &jobs[i]);
  }
  let_them_wait();
  EXPECT_GE(count_of(tasks), kMany / 2);
  for (size_t i = 0; i < kMany; ++i) {
    know(jobs[i].hidden);
    EXPECT_FALSE(is_leaked(tasks[i]));
  }
  know(0);
  EXPECT_GE(count_of(tasks), kMany / 2);
  for (size_t i = 0; i < kMany; ++i) end(tasks[i], jobs[i].hidden);
  EXPECT_EQ(count_of(tasks), 0U);
}

TEST_P(Sleepers, MayBeWokenByOneWhoMayBeWoken) {
  // Those of the first kind wait at the gate, and know the objects.
  static Job first[kMany], second[kMany];
  const uintptr_t gate = make_hidden_chan();
  tri_task knows[kMany], tasks[kMany];
  for (size_t i = 0; i < kMany; ++i) {
    first[i] = {&GetParam(), make_hidden(GetParam()), gate};
    second[i] = {&GetParam(), first[i].hidden, 0};
    knows[i] = spawn(wait_for_object, &first[i]);
    tasks[i] = spawn(wait_for_object, &second[i]);
  }
  let_them_wait();
  know(gate);
  EXPECT_EQ(count_of(knows), 0U);
  EXPECT_EQ(count_of(tasks), 0U);
  // Who is hidden by a register knows only what he waits for himself; the gate's queue is a ring, and one who is seen shows them all.
  know(0);
  EXPECT_GE(count_of(tasks) + kMany * (count_of(knows) == 0), kMany / 2);
  close_hidden(gate);
  // Both wait for the object now, or the first has found nothing to wait for.
  for (size_t i = 0; i < kMany; ++i) {
    for (const tri_task t : {tasks[i], knows[i]}) {
      for (int k = 0; k < 1000 && tri_join(t, tri_after(TRI_MS(10))) != 0; ++k) {
        in_goroutine([i] { GetParam().end(shown(second[i].hidden)); });
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Sleepers, testing::ValuesIn(kKinds), [](const auto& kind) {
  std::string name;
  for (const char c : std::string(kind.param.name)) name += c == ' ' ? '_' : c;
  return name;
});

void receive(void* c) { (void)tri_chan_recv(static_cast<tri_chan*>(c), nullptr, TRI_FOREVER); }

/// A goroutine that waits for a channel which only it knows, and another after it, so that no register remembers the first; see kMany.
tri_task spawn_lost(uintptr_t* hidden, const char* name = nullptr) {
  static Job job;
  *hidden = make_hidden_chan();
  job = {&kKinds[2], *hidden, 0};
  const tri_task task = spawn(wait_for_object, &job, name);
  static tri_chan* other;
  other = tri_chan_new(0, 0);
  const tri_task after = spawn(receive, other);
  let_them_wait();
  tri_chan_close(other);
  EXPECT_EQ(tri_join(after, tri_after(TRI_S(60))), 0);
  return task;
}

TEST(SleepersOf, OnNothingAtAll) {
  const tri_task task = spawn(receive, nullptr);
  let_them_wait();
  EXPECT_TRUE(is_leaked(task)) << "nobody sends on no channel";
}

TEST(SleepersOf, TimeAndDescriptorsAreNone) {
  static int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  static tri_chan* lost;
  lost = tri_chan_new(0, 0);
  const tri_task tasks[] = {spawn(
                                [](void*) {
                                  (void)tri_chan_recv(static_cast<tri_chan*>(shown(~reinterpret_cast<uintptr_t>(lost))),
                                                      nullptr, tri_after(TRI_S(5)));
                                },
                                nullptr),
                            spawn([](void*) { tri_sleep(TRI_S(5)); }, nullptr),
                            spawn(
                                [](void*) {
                                  char byte;
                                  (void)tri_read(pair[0], &byte, 1, TRI_FOREVER);
                                },
                                nullptr),
                            spawn(
                                [](void*) {
                                  struct tri_case cases[] = {TRI_READABLE(pair[0])};
                                  (void)tri_select(cases, 1, TRI_FOREVER);
                                },
                                nullptr),
                            spawn(
                                [](void*) {
                                  struct tri_case cases[] = {TRI_AFTER(tri_after(TRI_S(5)))};
                                  (void)tri_select(cases, 1, TRI_FOREVER);
                                },
                                nullptr)};
  let_them_wait();
  for (const tri_task task : tasks) EXPECT_FALSE(is_leaked(task));
  ASSERT_EQ(close(pair[1]), 0);
  for (const tri_task task : tasks) EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
}

TEST(SleepersOf, WhoeverJoinsOneIsOneToo) {
  static tri_task joined;
  uintptr_t hidden;
  joined = spawn_lost(&hidden);
  const tri_task joins = spawn([](void*) { EXPECT_EQ(tri_join(joined, TRI_FOREVER), 0); }, nullptr);
  let_them_wait();
  EXPECT_TRUE(is_leaked(joined));
  EXPECT_TRUE(is_leaked(joins));
  know(hidden);
  EXPECT_FALSE(is_leaked(joined));
  EXPECT_FALSE(is_leaked(joins)) << "it is woken when the other ends";
  close_hidden(hidden);
  EXPECT_EQ(tri_join(joins, tri_after(TRI_S(60))), 0);
}

TEST(SleepersOf, AWaitGroupOnTheWaitersOwnStackIsKnownToItsWorkers) {
  static std::atomic<bool> over;
  over = false;
  const tri_task task = spawn(
      [](void*) {
        tri_wg wg = {};
        tri_wg_add(&wg, 1);
        (void)tri_go(
            [](void* arg) {
              while (!over) tri_sleep(TRI_MS(1));
              tri_wg_done(static_cast<tri_wg*>(arg));
            },
            &wg);
        (void)tri_wg_wait(&wg, TRI_FOREVER);
      },
      nullptr);
  let_them_wait();
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(is_leaked(task));
  over = true;
  EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
}

TEST(SleepersOf, NoneIsReportedWhileAllCanBeWoken) {
  const size_t before = count_leaked();  // those that other tests left behind
  // A pipeline that runs: whoever is between a queue and its next step must not be taken for one who sleeps for good.
  static constexpr int kStages = 50;
  static tri_chan* stages[kStages + 1];
  for (tri_chan*& c : stages) c = tri_chan_new(sizeof(int), 0);
  tri_procs(2);
  std::vector<tri_task> tasks;
  for (int i = 0; i < kStages; ++i) {
    tasks.push_back(spawn(
        [](void* arg) {
          auto** const c = static_cast<tri_chan**>(arg);
          int value;
          while (tri_chan_recv(c[0], &value, TRI_FOREVER) == 0) (void)tri_chan_send(c[1], &value, TRI_FOREVER);
          tri_chan_close(c[1]);
        },
        &stages[i]));
  }
  tasks.push_back(spawn(
      [](void*) {
        int value;
        while (tri_chan_recv(stages[kStages], &value, TRI_FOREVER) == 0) {
        }
      },
      nullptr));
  static std::atomic<bool> over;
  over = false;
  const tri_task feeder = spawn(
      [](void*) {
        for (int i = 0; !over; ++i) (void)tri_chan_send(stages[0], &i, TRI_FOREVER);
        tri_chan_close(stages[0]);
      },
      nullptr);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(count_leaked(), before) << "look " << i;
  over = true;
  EXPECT_EQ(tri_join(feeder, tri_after(TRI_S(60))), 0);
  for (const tri_task task : tasks) EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
}

TEST(SleepersOf, ThousandsInAChainAreFollowed) {
  // Each knows what the next one waits for, and only the first is known.
  struct Link {
    tri_chan* mine;
    uintptr_t next;
  };
  static constexpr int kLinks = 5000;
  const size_t before = count_leaked();
  std::vector<tri_task> tasks;
  std::vector<uintptr_t> hidden;
  apart([&] {
    for (int i = 0; i <= kLinks; ++i) hidden.push_back(make_hidden_chan());
    know(hidden[0]);
    for (int i = 0; i < kLinks; ++i) {
      const uintptr_t both[2] = {hidden[static_cast<size_t>(i)], hidden[static_cast<size_t>(i) + 1]};
      tri_task task = 0;
      struct tri_attr attr = {};
      attr.size = sizeof attr;
      static std::atomic<int> begun;
      begun = 0;
      static uintptr_t now_hidden[2];
      memcpy(now_hidden, both, sizeof both);
      EXPECT_EQ(tri_spawn(
                    &task,
                    [](void*) {
                      void* volatile mine = shown(now_hidden[0]);
                      void* volatile next = shown(now_hidden[1]);
                      begun = 1;
                      (void)tri_chan_recv(static_cast<tri_chan*>(mine), nullptr, TRI_FOREVER);
                      tri_chan_close(static_cast<tri_chan*>(next));
                    },
                    nullptr, &attr),
                0);
      tasks.push_back(task);
      while (begun == 0) usleep(10);
    }
  });
  overwrite_stack();
  let_them_wait();
  EXPECT_EQ(count_leaked(), before);
  know(0);
  // A stale word may know a channel in the middle, and then those behind it count as known as well.
  EXPECT_GE(count_leaked(), size_t{kLinks} / 2);
  close_hidden(hidden[0]);
  for (const tri_task task : tasks) EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
}

std::string report(const char* what) {
  FILE* const file = tmpfile();
  EXPECT_GE(tri_report(fileno(file), what), 0);
  std::string text(static_cast<size_t>(lseek(fileno(file), 0, SEEK_END)), 0);
  EXPECT_EQ(pread(fileno(file), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  fclose(file);
  return text;
}

TEST(SleepersOf, AreReportedWithTheirStacksAndWhatTheyHold) {
  uintptr_t hidden;
  const tri_task task = spawn_lost(&hidden, "stuck");
  overwrite_stack();
  const std::string text = report("leaks");
  EXPECT_NE(text.find("nothing can wake 1 goroutine; it alone holds 1 block"), std::string::npos) << text;
  EXPECT_NE(text.find("\"stuck\": waits for select, "), std::string::npos) << text;
  EXPECT_EQ(text.find("nothing reaches"), std::string::npos) << "what it holds is no leak of its own\n" << text;
  const std::string json = report("leaks-json");
  EXPECT_NE(json.find("\"goroutines\":[\n{\"id\":" + std::to_string(task) +
                      ",\"name\":\"stuck\",\"waits_for\":\"select\"}]}"),
            std::string::npos)
      << json;
  close_hidden(hidden);
  EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
  EXPECT_EQ(report("leaks").find("goroutine"), std::string::npos);
}

TEST(SleepersOf, AFunctionIsNeeded) {
  EXPECT_EQ(tri_leaked_tasks(nullptr, nullptr), -EINVAL);
  uintptr_t hidden;
  const tri_task task = spawn_lost(&hidden);
  EXPECT_EQ(tri_leaked_tasks([](uint64_t, void*) { return 7; }, nullptr), 7);
  close_hidden(hidden);
  EXPECT_EQ(tri_join(task, tri_after(TRI_S(60))), 0);
}

}  // namespace
