// page_bits_model_test.cc - alloc/page_bits.h against a vector of bools.
#include "alloc/page_bits.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

/// The same questions, asked of one bool for each bit.
class Model {
 public:
  explicit Model(size_t n) : bits_(n) {}
  void assign(size_t first, size_t count, bool value) {
    for (size_t i = first; i < first + count; ++i) bits_[i] = value;
  }
  bool test(size_t i) const { return bits_[i]; }
  size_t count(size_t first, size_t length) const {
    size_t n = 0;
    for (size_t i = first; i < first + length; ++i) n += bits_[i] ? 1U : 0U;
    return n;
  }
  size_t find(bool value, size_t from, size_t to) const {
    for (size_t i = from; i < to; ++i) {
      if (bits_[i] == value) return i;
    }
    return to;
  }
  size_t find_clear_run(size_t length, size_t from, size_t to) const {
    for (size_t i = from; i + length <= to; ++i) {
      if (count(i, length) == 0) return i;
    }
    return to;
  }

 private:
  std::vector<bool> bits_;
};

template <size_t kBits>
void compare(uint64_t stream, size_t steps) {
  test::Random random(stream);
  PageBits<kBits> bits;
  Model model(kBits);
  for (size_t step = 0; step < steps; ++step) {
    const size_t first = random.below(kBits);
    // Long and short ranges, and often the whole of a word.
    size_t count = random.one_in(3) ? random.below(kBits - first + 1) : random.below(70);
    if (first + count > kBits) count = kBits - first;
    const bool value = random.one_in(2);
    if (value) {
      bits.set(first, count);
    } else {
      bits.clear(first, count);
    }
    model.assign(first, count, value);

    const size_t from = random.below(kBits + 1);
    const size_t to = random.between(from, kBits);
    ASSERT_EQ(bits.count(from, to - from), model.count(from, to - from));
    ASSERT_EQ(bits.all(from, to - from), model.count(from, to - from) == to - from);
    ASSERT_EQ(bits.none(from, to - from), model.count(from, to - from) == 0);
    ASSERT_EQ(bits.find(true, from, to), model.find(true, from, to));
    ASSERT_EQ(bits.find(false, from, to), model.find(false, from, to));
    const size_t i = random.below(kBits);
    ASSERT_EQ(bits.test(i), model.test(i));
    const size_t length = random.size_up_to(kBits);
    ASSERT_EQ(bits.find_clear_run(length, from, to), model.find_clear_run(length, from, to))
        << length << " in [" << from << ", " << to << ")";
  }
}

TEST(PageBitsModel, OneWord) { compare<64>(1, test::rounds(100'000)); }
TEST(PageBitsModel, AChunk) { compare<512>(2, test::rounds(20'000)); }
TEST(PageBitsModel, AnArena) { compare<8192>(3, test::rounds(800)); }

}  // namespace
}  // namespace tri
