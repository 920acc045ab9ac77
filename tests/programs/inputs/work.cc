// work.cc - Templates, containers, exceptions and regular expressions: long symbol names and many instances.
#include "work.h"

template <unsigned N>
struct Chain {
  std::variant<int, double, std::string, std::vector<std::tuple<int, std::string>>> value;
  Chain<N - 1> rest;

  explicit Chain(int seed) : rest(seed * 31 + 7) {
    switch (N % 4) {
      case 0: value = seed; break;
      case 1: value = seed / 3.0; break;
      case 2: value = std::string(static_cast<unsigned>(seed) % 50, 'x'); break;
      default: value = std::vector<std::tuple<int, std::string>>{{seed, "a"}, {seed + 1, std::to_string(seed)}};
    }
  }

  unsigned long weigh() const {
    return rest.weigh() + std::visit([]<typename T>(const T& v) -> unsigned long {
             if constexpr (std::is_arithmetic_v<T>) return static_cast<unsigned long>(v) % (N + 17);
             else return v.size() * N;
           }, value);
  }
};

template <>
struct Chain<0> {
  explicit Chain(int) {}
  unsigned long weigh() const { return 0; }
};

template <std::size_t... I>
unsigned long maps(std::index_sequence<I...>) {
  std::map<std::string, std::array<std::unique_ptr<std::string>, 4>> map;
  ((map["key" + std::to_string(I * 37 % 23)][I % 4] = std::make_unique<std::string>(I, 'c')), ...);
  unsigned long total = 0;
  for (auto& [key, slots] : map)
    for (auto& slot : slots) total = total * 3 + key.size() + (slot ? slot->size() : 0);
  return total;
}

int main() {
  unsigned long total = Chain<24>(12345).weigh() + maps(std::make_index_sequence<48>());
  std::string text;
  for (int i = 0; i < 500; i++) text += "name" + std::to_string(i * i) + "=" + std::to_string(i) + ";";
  const std::regex pair("([a-z]+)([0-9]+)=([0-9]+);");
  for (std::sregex_iterator it(text.begin(), text.end(), pair), end; it != end; ++it) total += std::stoul((*it)[3]);
  std::vector<std::thread> threads;
  std::atomic<unsigned long> thrown = 0;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; i++) try {
          throw std::runtime_error(std::string(static_cast<unsigned>(i % 300), 'e') + std::to_string(t));
        } catch (const std::exception& e) { thrown += std::string(e.what()).size(); }
    });
  for (auto& thread : threads) thread.join();
  std::function<unsigned long(unsigned)> fib = [&](unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); };
  std::cout << total << ' ' << thrown << ' ' << fib(20) << '\n';
}
