#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/rng.h"
#include "annuli/grow/transforms/transform.h"

namespace annuli::grow {

// A new router: small normal rows of the line's stream, made orthogonal to the
// layer's mean activation where that is known; or, with `centroids`, the rows
// that router_centroids.h finds in the layer's activations, times `std`.
//
// It makes rows of nothing, and only where the line's source says so: a later
// step that lays the router out states what it was drawn with. In a chain the
// first step's is stated. State starts anew. The audit asks for the deviation,
// for orthogonality and for equal rows (verify/new_entries.h).
class RandomRouter : public Transform {
 public:
  static constexpr const char* kName = "random_router";

  RandomRouter(double deviation, bool mean, bool of_centroids = false)
      : std(deviation), needs_mean(mean), centroids(of_centroids) {}

  const double std;
  const bool needs_mean;  // refused without a mean
  const bool centroids;   // refused without them

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  bool carries_state() const override;
  bool changes_layer(const TensorRecipe& line) const override;

  static void write(const RandomRouter* stated, Json& line);
  static TransformPtr read(const Json& line);
};

// A router [E, D] of normal numbers times `std`, each row made orthogonal to
// `mean`: [D], the layer's mean input, or [R, D], orthonormal directions
// (router_mean.h), after which the deviation is `std` again. An undefined or
// zero mean leaves the rows as drawn. Orthogonal to the rounding of `dtype`:
// the projection is fp64.
at::Tensor random_router(at::IntArrayRef shape, double std,
                         const at::Tensor& mean, const CounterRng& rng,
                         at::ScalarType dtype);

}  // namespace annuli::grow
