#pragma once

#include "annuli/grow/transforms/transform.h"

namespace annuli::grow {

// Cancelling noise over the contracted copies of a matrix: of two copies of a
// slice (noise_pairs, recipe.h) the first gets +e, the second -e, drawn anew
// for every produced copy; an odd last copy stays clean. Stored so that each
// pair sums exactly to twice the clean value (cancelling_noise.h).
//
// In a chain the last step's is stated. State is carried: the noise changes no
// gradient of the copies' sum. The audit finds it in the pairs' differences
// (symmetry_breaking); a sketch does not see it.
class Noise : public Transform {
 public:
  static constexpr const char* kName = "noise";

  Noise(double snr, uint64_t numbers) : snr_db(snr), stream(numbers) {}

  const double snr_db;
  const uint64_t stream;  // of the growth's seed

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  TransformPtr on_zeros(const TransformPtr& self) const override;
  bool changes_layer(const TensorRecipe& line) const override;

  static void write(const Noise* stated, Json& line);
  static TransformPtr read(const Json& line);
};

}  // namespace annuli::grow
