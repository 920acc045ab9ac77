// slice_model_test.cc - Random operations on a slice and on a std::vector, with and without memory.
#include <cerrno>

#include "sched/slice.h"
#include "tests/alloc/support.h"

namespace tri::sched {
namespace {

/// A slice whose elements are `size` bytes, and what they should be.
class Pair {
 public:
  Pair(size_t size, uint64_t stream) : size_(size), random_(stream), slice_{nullptr, 0, 0, size, false} {}
  ~Pair() { slice_free(&slice_); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  bool same() const {
    return slice_.len * size_ == model_.size() && slice_.len <= slice_.cap &&
           (model_.empty() || memcmp(slice_.data, model_.data(), model_.size()) == 0);
  }

  /// One random operation; refused ones must change nothing, and only for want of memory.
  void step(bool may_fail) {
    const size_t count = slice_.len;
    const size_t n = random_.one_in(20) ? random_.below(5000) : random_.below(20);
    switch (random_.below(9)) {
      case 0 ... 2: {
        const std::string elems = some(n);
        if (done(slice_append(&slice_, elems.data(), n), may_fail)) model_ += elems;
        break;
      }
      case 3: {
        const size_t from = random_.below(count + 1);
        const size_t part = random_.below(count - from + 1);
        const std::string elems = model_.substr(from * size_, part * size_);
        if (done(slice_append(&slice_, at(from), part), may_fail)) model_ += elems;
        break;
      }
      case 4: {
        const size_t where = random_.below(count + 1);
        const std::string elems = random_.one_in(3) ? std::string(n * size_, '\0') : some(n);
        const bool zero = elems == std::string(n * size_, '\0');
        if (done(slice_insert(&slice_, where, zero ? nullptr : elems.data(), n), may_fail)) {
          model_.insert(where * size_, elems);
        }
        break;
      }
      case 5: {
        const size_t where = random_.below(count + 1);
        const size_t from = random_.below(count + 1);
        const size_t part = random_.below(count - from + 1);
        const std::string elems = model_.substr(from * size_, part * size_);
        if (done(slice_insert(&slice_, where, at(from), part), may_fail)) model_.insert(where * size_, elems);
        break;
      }
      case 6: {
        const size_t from = random_.below(count + 1);
        const size_t part = random_.below(count - from + 1);
        ASSERT_EQ(slice_erase(&slice_, from, part), 0);
        model_.erase(from * size_, part * size_);
        break;
      }
      case 7: {
        const size_t to = random_.one_in(8) ? 0 : random_.below(count + 30);
        if (done(slice_resize(&slice_, to), may_fail)) model_.resize(to * size_, '\0');
        break;
      }
      default: {
        if (random_.one_in(2)) {
          static_cast<void>(slice_clip(&slice_));
          break;
        }
        // A clone takes the place of what it was made of.
        Slice copy;
        if (!done(slice_clone(&slice_, &copy), may_fail)) break;
        slice_free(&slice_);
        slice_ = copy;
      }
    }
    if (slice_.len > 100'000) {
      static_cast<void>(slice_resize(&slice_, 10));
      model_.resize(10 * size_);
    }
    ASSERT_TRUE(same()) << "elements of " << size_;
  }

 private:
  bool done(int result, bool may_fail) {
    EXPECT_TRUE(may_fail || result == 0);
    EXPECT_TRUE(result == 0 || result == -ENOMEM) << result;
    return result == 0;
  }
  std::string some(size_t n) {
    std::string elems(n * size_, '\0');
    for (char& c : elems) c = static_cast<char>(random_.next());
    return elems;
  }
  const void* at(size_t i) const { return static_cast<const char*>(slice_.data) + i * size_; }

  size_t size_;
  test::Random random_;
  Slice slice_;
  std::string model_;
};

TEST(SliceModel, RandomOperationsGiveWhatAVectorGives) {
  for (const size_t size : {1, 2, 4, 7, 8, 16, 24, 100, 1000}) {
    Pair pair(size, size);
    for (size_t i = 0; i < test::rounds(size > 50 ? 2000 : 10'000); ++i) {
      ASSERT_NO_FATAL_FAILURE(pair.step(false));
    }
  }
}

TEST(SliceModel, OperationsWithoutMemoryChangeNothing) {
  test::warm_up();
  for (const size_t size : {8, 24, 3000}) {
    Pair pair(size, size + 1000);
    test::Random random(size);
    for (size_t i = 0; i < test::rounds(400); ++i) {
      const test::Faults faults(static_cast<long>(random.below(3)));
      for (size_t k = 0; k < 10; ++k) ASSERT_NO_FATAL_FAILURE(pair.step(true));
    }
  }
}

}  // namespace
}  // namespace tri::sched
