#pragma once

#include <cstdint>

// Weights of layers that have memory only while a block's pass reads them:
// because other processes own them (weight_parts.h), or because they are held
// as codes (coded_weights.h).
namespace annuli {

class Transformer;

class LentWeights {
 public:
  virtual ~LentWeights() = default;

  // What a block's pass asks for. `next`, if it is a layer, is likely to be
  // fetched after it.
  virtual void fetch(const Transformer& model, int64_t layer,
                     int64_t next) const = 0;
  virtual void drop(const Transformer& model, int64_t layer) const = 0;
  // In place of `drop`, where the layer is the next that is fetched.
  virtual void keep(int64_t layer) const = 0;
  // Drops what a pass before kept or asked for and did not use, as one that
  // failed.
  virtual void begin_pass(const Transformer& model) const = 0;
};

}  // namespace annuli
