#include "tests/fuzz/mutate.h"

#include <cctype>

#include "annuli/core/rng.h"

namespace annuli::fuzz {
namespace {

// Numbers that arithmetic trips over.
constexpr const char* kNumbers[] = {"0",
                                    "-1",
                                    "4294967296",
                                    "9223372036854775807",
                                    "18446744073709551615",
                                    "1e309",
                                    "99999999999999999999999",
                                    "null",
                                    "[]",
                                    "\"1\""};

class Mutator {
 public:
  explicit Mutator(uint64_t number) : rng_(number, "mutations") {}

  uint64_t below(uint64_t n) { return rng_.below(next_++, n); }

  void change(std::string& text, const std::vector<std::string>& seeds) {
    if (text.empty()) text = "x";
    const size_t at = below(text.size());
    const size_t length = 1 + below(std::min<size_t>(text.size() - at, 64));
    switch (below(8)) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ 1 << below(8));
        break;
      case 1:
        text[at] = static_cast<char>(below(256));
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:
        text.insert(at, text.substr(at, length));
        break;
      case 4:
        text.insert(below(text.size()), text.substr(at, length));
        break;
      case 5:
        text.resize(at);
        break;
      case 6:
        text = text.substr(0, at) + other(seeds);
        break;
      default:
        replace_number(text, at);
    }
  }

 private:
  // The back of some seed.
  std::string other(const std::vector<std::string>& seeds) {
    const std::string& seed = seeds[below(seeds.size())];
    return seed.empty() ? seed : seed.substr(below(seed.size()));
  }

  // The first one behind `at`.
  void replace_number(std::string& text, size_t at) {
    const auto is_digit = [&](size_t i) {
      return i < text.size() &&
             std::isdigit(static_cast<unsigned char>(text[i]));
    };
    while (at < text.size() && !is_digit(at)) ++at;
    size_t end = at;
    while (is_digit(end)) ++end;
    text.replace(at, end - at, kNumbers[below(std::size(kNumbers))]);
  }

  CounterRng rng_;
  uint64_t next_ = 0;
};

}  // namespace

std::string mutation(const std::vector<std::string>& seeds, uint64_t number) {
  Mutator mutator(number);
  std::string text = seeds[mutator.below(seeds.size())];
  for (uint64_t changes = 1 + mutator.below(4); changes > 0; --changes) {
    mutator.change(text, seeds);
  }
  return text;
}

}  // namespace annuli::fuzz
