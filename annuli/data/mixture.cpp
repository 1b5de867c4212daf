#include "annuli/data/mixture.h"

#include <fmt/core.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/data/shuffle.h"

namespace annuli::data {
namespace {

constexpr uint64_t kBlock = 64;
constexpr int kPartBits = 32;

}  // namespace

Mixture::Mixture(const std::vector<double>& weights, uint64_t seed,
                 std::string_view stream)
    : seed_(seed), order_(seed, fmt::format("{}/mixture", stream)) {
  ANNULI_CHECK(!weights.empty(), "a mixture of nothing");
  double sum = 0;
  for (const double weight : weights) {
    ANNULI_CHECK(weight > 0 && std::isfinite(weight), "a weight of {}", weight);
    sum += weight;
    parts_.push_back(static_cast<uint64_t>(
        std::llround(std::ldexp(weight / sum, kPartBits))));
  }
}

std::vector<uint64_t> Mixture::counts(uint64_t count) const {
  std::vector<uint64_t> counts(parts_.size());
  uint64_t rest = count;
  for (size_t text = parts_.size() - 1; text > 0; --text) {
    constexpr unsigned __int128 kHalf = uint64_t{1} << (kPartBits - 1);
    const auto share = static_cast<uint64_t>(
        (static_cast<unsigned __int128>(rest) * parts_[text] + kHalf) >>
        kPartBits);
    counts[text] = share;
    rest -= share;
  }
  counts[0] = rest;
  return counts;
}

Mixture::Window Mixture::window(uint64_t i) const {
  if (parts_.size() == 1) return {0, i};
  const uint64_t block = i / kBlock;
  const CounterRng key(seed_, order_.bits(block));
  const uint64_t at = block * kBlock + shuffled(key, i % kBlock, kBlock);
  const std::vector<uint64_t> before = counts(at);
  const std::vector<uint64_t> after = counts(at + 1);
  for (size_t text = 0; text < before.size(); ++text) {
    if (after[text] > before[text]) return {text, before[text]};
  }
  ANNULI_CHECK(false, "window {} is of no text", i);
}

}  // namespace annuli::data
