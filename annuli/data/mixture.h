#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "annuli/core/rng.h"

// Which of several texts each window of a run comes from, by weights.
//
// A pure function of (seed, stream, i). Windows are taken in blocks of 64, and
// of the first windows of whole blocks each text has its share of them, rounded
// (the last text's of all, the next one's of what is left, and so on, so that
// nothing is lost: off by less than a window where there are two texts, by less
// than one for each text where there are more). Inside a block the texts come
// in an order that is drawn. Weights count in steps of 2^-32 of their sum.
namespace annuli::data {

class Mixture {
 public:
  // One weight for each text, above 0.
  Mixture(const std::vector<double>& weights, uint64_t seed,
          std::string_view stream);

  // A window of one text; `number` counts that text's windows from 0.
  struct Window {
    size_t text;
    uint64_t number;
  };
  // Each number of a text comes once.
  Window window(uint64_t i) const;

  // How many of the first `count` windows each text has; inside a block, as if
  // its texts came in turn.
  std::vector<uint64_t> counts(uint64_t count) const;

 private:
  std::vector<uint64_t> parts_;  // of 2^32: text j's share among texts 0 .. j
  uint64_t seed_;
  CounterRng order_;
};

}  // namespace annuli::data
