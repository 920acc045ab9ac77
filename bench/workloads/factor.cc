// factor.cc - Factors numbers with arithmetic that allocates each result (in the spirit of Zorn's cfrac).
//
// Pollard's rho method over natural numbers whose digits live on the heap. Nearly every block is tiny and dies after a few
// instructions, and a handful is alive at any time: the pure cost of a malloc and a free.
#include "support/workload.h"

using namespace bench;

namespace {

// A natural number: digits of 32 bits, least first, in a block of exactly their size. Zero has no digits.
class Natural {
 public:
  explicit Natural(uint64_t value = 0) : Natural(value >> 32 ? 2u : value ? 1u : 0u, Sized{}) {
    for (uint32_t i = 0; i < count_; i++) digits_[i] = static_cast<uint32_t>(value >> 32 * i);
  }
  Natural(Natural&& other) noexcept
      : digits_(std::exchange(other.digits_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Natural(const Natural& other) : Natural(other.count_, Sized{}) {
    if (count_) std::memcpy(digits_, other.digits_, count_ * sizeof *digits_);
  }
  Natural& operator=(Natural other) noexcept {
    std::swap(digits_, other.digits_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~Natural() { std::free(digits_); }

  bool is_zero() const { return count_ == 0; }
  bool is_one() const { return count_ == 1 && digits_[0] == 1; }

  friend int compare(const Natural& a, const Natural& b) {
    if (a.count_ != b.count_) return a.count_ < b.count_ ? -1 : 1;
    for (uint32_t i = a.count_; i-- > 0;)
      if (a.digits_[i] != b.digits_[i]) return a.digits_[i] < b.digits_[i] ? -1 : 1;
    return 0;
  }

  friend Natural operator+(const Natural& a, const Natural& b) {
    const Natural& longer = a.count_ >= b.count_ ? a : b;
    const Natural& shorter = a.count_ >= b.count_ ? b : a;
    Natural sum(longer.count_ + 1, Sized{});
    uint64_t carry = 0;
    for (uint32_t i = 0; i < longer.count_; i++) {
      carry += uint64_t{longer.digits_[i]} + (i < shorter.count_ ? shorter.digits_[i] : 0);
      sum.digits_[i] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    sum.digits_[longer.count_] = static_cast<uint32_t>(carry);
    return sum.trim();
  }

  // a >= b.
  friend Natural operator-(const Natural& a, const Natural& b) {
    Natural difference(a.count_, Sized{});
    int64_t borrow = 0;
    for (uint32_t i = 0; i < a.count_; i++) {
      borrow += int64_t{a.digits_[i]} - (i < b.count_ ? b.digits_[i] : 0);
      difference.digits_[i] = static_cast<uint32_t>(borrow);
      borrow >>= 32;
    }
    return difference.trim();
  }

  friend Natural operator*(const Natural& a, const Natural& b) {
    Natural product(a.count_ + b.count_, Sized{});
    if (product.count_) std::memset(product.digits_, 0, product.count_ * sizeof *product.digits_);
    for (uint32_t i = 0; i < a.count_; i++) {
      uint64_t carry = 0;
      for (uint32_t k = 0; k < b.count_; k++) {
        carry += uint64_t{a.digits_[i]} * b.digits_[k] + product.digits_[i + k];
        product.digits_[i + k] = static_cast<uint32_t>(carry);
        carry >>= 32;
      }
      product.digits_[i + b.count_] = static_cast<uint32_t>(carry);
    }
    return product.trim();
  }

  // Knuth's algorithm D (The Art of Computer Programming, 4.3.1); only the remainder is kept. b > 0.
  friend Natural operator%(const Natural& a, const Natural& b) {
    if (compare(a, b) < 0) return a;
    if (b.count_ == 1) {
      uint64_t rest = 0;
      for (uint32_t i = a.count_; i-- > 0;) rest = (rest << 32 | a.digits_[i]) % b.digits_[0];
      return Natural(rest);
    }
    unsigned shift = static_cast<unsigned>(__builtin_clz(b.digits_[b.count_ - 1]));
    Natural rest = a.shifted(shift), divisor = b.shifted(shift).trim();
    uint32_t n = divisor.count_;
    uint64_t high = divisor.digits_[n - 1], next = divisor.digits_[n - 2];
    for (uint32_t at = rest.count_ - n; at-- > 0;) {
      uint32_t* window = rest.digits_ + at;
      uint64_t top = uint64_t{window[n]} << 32 | window[n - 1];
      uint64_t quotient = top / high, remainder = top % high;
      while (quotient >> 32 || quotient * next > (remainder << 32 | window[n - 2])) {
        quotient--;
        remainder += high;
        if (remainder >> 32) break;
      }
      if (subtract_multiple(window, divisor, quotient)) add_back(window, divisor);
    }
    rest.trim();
    return rest.shifted_back(shift);
  }

 private:
  struct Sized {};
  Natural(uint32_t count, Sized) : digits_(nullptr), count_(count) {
    if (!count) return;
    digits_ = static_cast<uint32_t*>(std::malloc(count * sizeof *digits_));
    if (!digits_) fail("out of memory");
  }

  // Leading zeroes go; the block stays, it dies soon enough.
  Natural trim() && { return std::move(trim()); }
  Natural& trim() & {
    while (count_ && !digits_[count_ - 1]) count_--;
    return *this;
  }

  // One digit longer, times 2^shift; shift < 32.
  Natural shifted(unsigned shift) const {
    Natural result(count_ + 1, Sized{});
    uint64_t carry = 0;
    for (uint32_t i = 0; i < count_; i++) {
      carry |= uint64_t{digits_[i]} << shift;
      result.digits_[i] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    result.digits_[count_] = static_cast<uint32_t>(carry);
    return result;
  }
  Natural shifted_back(unsigned shift) const {
    Natural result(count_, Sized{});
    for (uint32_t i = 0; i < count_; i++) {
      uint64_t pair = digits_[i] | (i + 1 < count_ ? uint64_t{digits_[i + 1]} << 32 : 0);
      result.digits_[i] = static_cast<uint32_t>(pair >> shift);
    }
    return std::move(result).trim();
  }

  // window -= quotient * divisor; true when that was one multiple too many.
  static bool subtract_multiple(uint32_t* window, const Natural& divisor, uint64_t quotient) {
    uint64_t carry = 0;
    int64_t borrow = 0;
    for (uint32_t i = 0; i < divisor.count_; i++) {
      carry += quotient * divisor.digits_[i];
      borrow += int64_t{window[i]} - static_cast<uint32_t>(carry);
      window[i] = static_cast<uint32_t>(borrow);
      borrow >>= 32;
      carry >>= 32;
    }
    borrow += int64_t{window[divisor.count_]} - static_cast<int64_t>(carry);
    window[divisor.count_] = static_cast<uint32_t>(borrow);
    return borrow < 0;
  }
  static void add_back(uint32_t* window, const Natural& divisor) {
    uint64_t carry = 0;
    for (uint32_t i = 0; i < divisor.count_; i++) {
      carry += uint64_t{window[i]} + divisor.digits_[i];
      window[i] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    window[divisor.count_] += static_cast<uint32_t>(carry);
  }

  uint32_t* digits_;
  uint32_t count_;
};

Natural gcd(Natural a, Natural b) {
  while (!b.is_zero()) {
    Natural rest = a % b;
    a = std::move(b);
    b = std::move(rest);
  }
  return a;
}

// A proper factor of the odd composite n, by Pollard's rho with Floyd's cycle; differences are multiplied up, so that a gcd
// is needed only once in a while.
Natural find_factor(const Natural& n, uint64_t& steps) {
  constexpr int kProductLength = 64;
  for (uint64_t constant = 1;; constant++) {
    Natural c(constant), slow(2), fast(2), divisor(1);
    auto next = [&](const Natural& x) { return (x * x + c) % n; };
    while (divisor.is_one()) {
      Natural product(1);
      for (int i = 0; i < kProductLength; i++, steps++) {
        slow = next(slow);
        fast = next(next(fast));
        Natural difference = compare(slow, fast) < 0 ? fast - slow : slow - fast;
        product = product * difference % n;
      }
      divisor = gcd(product, n);
    }
    if (compare(divisor, n) != 0) return divisor;
  }
}

struct Semiprime {
  uint64_t p, q;
};
// Smaller factors of about 34 bits: some 2^17 steps each.
constexpr Semiprime kNumbers[] = {{10000000019, 99999999977}, {12345678923, 98765432137},
                                  {15485863001, 32416190071}, {17179869143, 68719476731},
                                  {20000000089, 34359738337}, {11111111113, 137438953447}};
constexpr uint64_t kRounds = 4;  // at scale 1

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t steps = 0;
  uint64_t total = args.scaled(kRounds * std::size(kNumbers));
  for (uint64_t i = 0; i < total; i++) {
    Semiprime number = kNumbers[i % std::size(kNumbers)];
    Natural n = Natural(number.p) * Natural(number.q);
    Natural factor = find_factor(n, steps);
    if (factor.is_one() || !(n % factor).is_zero()) fail("that is no factor");
  }
  return done(steps);
}
