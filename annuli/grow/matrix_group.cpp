#include "annuli/grow/matrix_group.h"

#include <algorithm>
#include <initializer_list>

#include "annuli/core/error.h"

namespace annuli::grow {
namespace {

bool has_axis(const TensorSpec& spec, std::initializer_list<Axis> axes) {
  return std::ranges::any_of(spec.dimensions, [&](const Dimension& d) {
    return std::ranges::find(axes, d.axis) != axes.end();
  });
}

bool is_of(const TensorSpec& spec, MatrixGroup group) {
  switch (group) {
    case MatrixGroup::kAttention:
      return has_axis(spec, {Axis::kHead, Axis::kKvHead});
    case MatrixGroup::kFeedForward:
      return has_axis(spec, {Axis::kFfn, Axis::kSharedFfn});
    case MatrixGroup::kRouter:
      return has_axis(spec, {Axis::kExpert});
    case MatrixGroup::kEmbedding:
      return has_axis(spec, {Axis::kVocab});
  }
  ANNULI_CHECK(false, "a group of matrices without a name");
  return false;
}

}  // namespace

bool is_of_groups(const TensorSpec& spec,
                  const std::vector<MatrixGroup>& groups) {
  return spec.is_matrix() &&
         std::ranges::any_of(
             groups, [&](MatrixGroup group) { return is_of(spec, group); });
}

}  // namespace annuli::grow
