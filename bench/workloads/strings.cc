// strings.cc - What C++ programs do all day: strings, maps, vectors of them, built up and torn down.
//
// Reads a made-up text, counts its words in a hash table, indexes them in a tree, sorts and joins them, and starts again.
// Goes through operator new and its sized delete rather than malloc and free.
#include <map>
#include <string>
#include <unordered_map>

#include "support/workload.h"

using namespace bench;

namespace {

constexpr uint32_t kVocabulary = 20000;
constexpr size_t kWordsPerText = 60000;
constexpr uint64_t kTexts = 44;  // of all threads, at scale 1

// Words of 3 to 40 letters; the short ones fit inside a std::string, the long ones do not.
std::string make_word(uint32_t id) {
  Rng rng(id + 1);
  std::string word;
  for (uint32_t n = rng.below(4) ? rng.between(3, 12) : rng.between(17, 40); n > 0; n--)
    word += static_cast<char>('a' + rng.below(26));
  return word;
}

uint64_t read_text(Rng& rng) {
  std::unordered_map<std::string, std::vector<uint32_t>> places;
  for (uint32_t at = 0; at < kWordsPerText; at++) {
    uint32_t id = std::min(rng.below(kVocabulary), rng.below(kVocabulary));
    places[make_word(id)].push_back(at);
  }
  std::map<std::string, std::string> index;
  for (auto& [word, where] : places) {
    std::string line = word + ":";
    for (uint32_t at : where) line += " " + std::to_string(at);
    index.emplace(word + "#" + std::to_string(where.size()), std::move(line));
  }
  std::vector<std::string> lines;
  for (auto& [key, line] : index) lines.push_back(key + "\t" + line);
  std::sort(lines.begin(), lines.end(), [](auto& a, auto& b) {
    return a.size() < b.size() || (a.size() == b.size() && a < b);
  });
  std::string page;
  size_t found = 0;
  for (auto& line : lines) {
    page += line;
    page += '\n';
  }
  for (char c : page) found += c == ' ';
  if (found != kWordsPerText) fail("the index lost a word");
  return page.size();
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t texts = std::max<uint64_t>(1, args.scaled(kTexts) / args.threads);
  std::atomic<uint64_t> bytes{0};
  run_threads(args.threads, [&](unsigned id) {
    Rng rng(id + 1);
    for (uint64_t i = 0; i < texts; i++) bytes.fetch_add(read_text(rng), std::memory_order_relaxed);
  });
  if (!bytes) fail("nothing was written");
  return done(args.threads * texts * kWordsPerText);
}
