// chan_h_test.cc - Tests of tri/chan.h, tri/sync.h, tri/context.h and tri.hpp: the examples of users, against the library itself.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include <tri.hpp>

namespace {

// ---- chan.h ----------------------------------------------------------------------------------------------------------

TEST(ChanH, PassesValuesBetweenGoroutinesAndThreads) {
  tri_chan* const c = tri_chan_new(sizeof(int), 2);
  std::thread sender([c] {
    for (int i = 0; i < 100; ++i) EXPECT_EQ(tri_chan_send(c, &i, TRI_FOREVER), 0);
    tri_chan_close(c);
  });
  std::atomic<int> sum{0};
  tri_wg wg = {};
  tri_wg_add(&wg, 3);
  for (int k = 0; k < 3; ++k) {
    ASSERT_EQ(tri::go([&] {
                int v;
                while (tri_chan_recv(c, &v, TRI_FOREVER) == 0) sum += v;
                tri_wg_done(&wg);
              }),
              0);
  }
  EXPECT_EQ(tri_wg_wait(&wg, TRI_FOREVER), 0);
  sender.join();
  EXPECT_EQ(sum.load(), 4950);
  EXPECT_EQ(tri_chan_len(c), 0U);
  EXPECT_EQ(tri_chan_cap(c), 2U);
  tri_chan_unref(tri_chan_ref(c));
  tri_chan_unref(c);
}

TEST(ChanH, NullIsAChannelThatIsNeverReady) {
  EXPECT_EQ(tri_chan_send(nullptr, nullptr, 0), -EAGAIN);
  EXPECT_EQ(tri_chan_recv(nullptr, nullptr, tri_after(TRI_MS(1))), -ETIMEDOUT);
  EXPECT_EQ(tri_chan_len(nullptr) + tri_chan_cap(nullptr), 0U);
  tri_chan_unref(nullptr);
  EXPECT_EQ(tri_chan_ref(nullptr), nullptr);
  tri_case cases[] = {TRI_SEND(nullptr, nullptr), TRI_RECV(nullptr, nullptr), TRI_READABLE(-1), TRI_DONE(nullptr)};
  EXPECT_EQ(tri_select(cases, 4, 0), -EAGAIN);
  EXPECT_EQ(tri_select(cases, 4, tri_after(TRI_MS(1))), -ETIMEDOUT);
}

TEST(ChanH, CasesMayBeConstants) {
  static constexpr tri_case kCases[] = {TRI_READABLE(7), TRI_AFTER(TRI_MS(5))};
  static_assert(kCases[0].kind == TRI_CASE_READABLE && kCases[0].fd == 7);
  static_assert(kCases[1].kind == TRI_CASE_AFTER && kCases[1].when == 5'000'000);
  static_assert(!kCases[0].closed && kCases[0].object == nullptr && kCases[0].data == nullptr);
  int value = 0;
  tri_chan* const c = tri_chan_new(sizeof(int), 1);
  tri_case both[] = {TRI_RECV(c, &value), TRI_SEND(c, &value)};
  both[0] = TRI_SEND(c, &kCases[0].fd);
  EXPECT_GE(tri_select(both, 2, 0), 0);
  both[1] = TRI_RECV(c, &value);
  EXPECT_EQ(tri_select(both, 2, 0), 1);
  EXPECT_TRUE(value == 7 || value == 0);
  tri_chan_unref(c);
}

TEST(ChanHDeathTest, CloseTwiceOrOfNothingIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        tri_chan* const c = tri_chan_new(1, 1);
        tri_chan_close(c);
        tri_chan_close(c);
      },
      "tri: close of closed channel 0x[0-9a-f]+ in .*\\[[0-9]+\\]");
  EXPECT_DEATH(tri_chan_close(nullptr), "tri: close of null channel 0x0 in ");
}

TEST(ChanH, SelectsOverDescriptorsMomentsAndContexts) {
  const int fd = eventfd(0, EFD_NONBLOCK);
  tri_chan* const c = tri_chan_new(0, 0);
  tri_ctx* const ctx = tri_ctx_new(nullptr, TRI_FOREVER);
  const auto select = [&](tri_time moment, tri_time deadline) {
    tri_case cases[] = {TRI_RECV(c, nullptr), TRI_READABLE(fd), TRI_AFTER(moment), TRI_DONE(ctx)};
    return tri_select(cases, 4, deadline);
  };
  EXPECT_EQ(select(TRI_FOREVER, 0), -EAGAIN);
  EXPECT_EQ(select(TRI_FOREVER, tri_after(TRI_MS(1))), -ETIMEDOUT);
  EXPECT_EQ(select(tri_after(TRI_MS(1)), TRI_FOREVER), 2);
  for (int i = 0; i < 50; ++i) {
    std::thread writer([fd] {
      const uint64_t one = 1;
      EXPECT_EQ(write(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    });
    EXPECT_EQ(select(TRI_FOREVER, TRI_FOREVER), 1);
    EXPECT_EQ(select(TRI_FOREVER, 0), 1) << "it is readable until somebody reads";
    writer.join();
    uint64_t n;
    EXPECT_EQ(read(fd, &n, sizeof n), static_cast<ssize_t>(sizeof n));
    EXPECT_EQ(select(TRI_FOREVER, 0), -EAGAIN);
  }
  tri_case writable[] = {TRI_WRITABLE(fd)};
  EXPECT_EQ(tri_select(writable, 1, TRI_FOREVER), 0);
  tri_ctx_cancel(ctx);
  EXPECT_EQ(select(TRI_FOREVER, TRI_FOREVER), 3);
  tri_case closed[] = {TRI_READABLE(fd)};
  close(fd);
  EXPECT_EQ(tri_select(closed, 1, 0), -EBADF);
  tri_ctx_unref(ctx);
  tri_chan_unref(c);
}

// ---- sync.h: zeros are a good start --------------------------------------------------------------------------------------

TEST(SyncH, StructsBeginAsZeros) {
  static tri_mutex mutex;
  static tri_rwlock lock;
  static tri_cond cond;
  static tri_wg wg;
  static tri_once once;
  static tri_sem sem;
  static tri_sem three = TRI_SEM_INIT(3);
  static tri_pool pool;
  static tri_cmap map;
  static tri_cmap numbers = TRI_CMAP_INIT(sizeof(int));
  tri_mutex_lock(&mutex);
  EXPECT_EQ(tri_mutex_lock_until(&mutex, 0), -EAGAIN);
  EXPECT_EQ(tri_cond_wait(&cond, &mutex, tri_after(TRI_MS(1))), -ETIMEDOUT);
  tri_mutex_unlock(&mutex);
  tri_cond_signal(&cond);
  tri_cond_broadcast(&cond);
  tri_rwlock_read_lock(&lock);
  EXPECT_EQ(tri_rwlock_read_lock_until(&lock, 0), 0);
  EXPECT_EQ(tri_rwlock_write_lock_until(&lock, 0), -EAGAIN);
  tri_rwlock_read_unlock(&lock);
  tri_rwlock_read_unlock(&lock);
  tri_rwlock_write_lock(&lock);
  tri_rwlock_write_unlock(&lock);
  EXPECT_EQ(tri_wg_wait(&wg, 0), 0);
  int ran = 0;
  tri_once_do(
      &once, [](void* n) { ++*static_cast<int*>(n); }, &ran);
  EXPECT_EQ(tri_once_do_until(
                &once, [](void* n) { ++*static_cast<int*>(n); }, &ran, 0),
            0);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(tri_sem_acquire(&sem, 1, 0), -EAGAIN);
  EXPECT_EQ(tri_sem_acquire(&three, 3, 0), 0);
  tri_sem_release(&three, 3);
  EXPECT_EQ(tri_pool_get(&pool), nullptr);
  tri_pool_put(&pool, &ran);
  EXPECT_EQ(tri_pool_get(&pool), &ran);
  tri_pool_purge(&pool);
  EXPECT_EQ(tri_cmap_store(&map, "one", &ran), 0);
  EXPECT_EQ(tri_cmap_load(&map, "one"), &ran);
  EXPECT_EQ(tri_cmap_load(&map, "two"), nullptr);
  void* actual = nullptr;
  EXPECT_EQ(tri_cmap_load_or_store(&map, "one", &map, &actual), 1);
  EXPECT_EQ(actual, &ran);
  EXPECT_EQ(tri_cmap_load_or_store(&map, "one", nullptr, &actual), -EINVAL);
  EXPECT_TRUE(tri_cmap_compare_and_swap(&map, "one", &ran, &map));
  EXPECT_EQ(tri_cmap_delete(&map, "one"), &map);
  const int key = 5;
  EXPECT_EQ(tri_cmap_swap(&numbers, &key, &ran, &actual), 0);
  int seen = 0;
  tri_cmap_range(
      &numbers,
      [](const void* k, void*, void* n) {
        *static_cast<int*>(n) += *static_cast<const int*>(k);
        return true;
      },
      &seen);
  EXPECT_EQ(seen, 5);
  tri_cmap_clear(&numbers);
  EXPECT_EQ(tri_cmap_load(&numbers, &key), nullptr);
  tri_cmap_free(&numbers);
  tri_cmap_free(&map);
}

// ---- tri.hpp -------------------------------------------------------------------------------------------------------------

TEST(TriHpp, HasTypedChannels) {
  tri::chan<int> c(4);
  ASSERT_EQ(tri::go([c] {
              for (int i = 1; i <= 10; ++i) (void)c.send(i);
              c.close();
            }),
            0);
  int sum = 0;
  for (const int v : c) sum += v;
  EXPECT_EQ(sum, 55);
  EXPECT_FALSE(c.recv().has_value());
  int v = 3;
  EXPECT_EQ(c.send(v), -EPIPE);
  tri_case cases[] = {c.on_recv(v)};
  EXPECT_EQ(tri_select(cases, 1, TRI_FOREVER), 0);
  EXPECT_TRUE(cases[0].closed);
}

TEST(TriHpp, HasScopesAndAMutexForTheStandardGuards) {
  tri::mutex m;
  int count = 0;
  {
    tri::scope s(nullptr, TRI_FOREVER, 4);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(s.go([&] {
        const std::lock_guard<tri::mutex> guard(m);
        ++count;
      }),
                0);
    }
    EXPECT_EQ(s.wait(), 0);
  }
  EXPECT_EQ(count, 100);
  tri::scope failing(nullptr);
  ASSERT_EQ(failing.go([&] { return tri_ctx_wait(failing.context(), TRI_FOREVER); }), 0);
  ASSERT_EQ(failing.go([] { return -5; }), 0);
  EXPECT_EQ(failing.wait(), -5);
}

}  // namespace
