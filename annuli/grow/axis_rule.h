#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/tensor_table.h"

// What an operator does to the axes of a model. An operator fills one AxisRule;
// `derive` turns it into a recipe with the help of the parent's and the child's
// tensor tables. Names of tensors appear in neither.
//
// The algebra behind `derive`: a tensor whose produced dimensions hold a copies
// of the parent's and whose contracted dimensions hold b copies keeps its
// function if every block is W / b, because the b equal inputs add up.
namespace annuli::grow {

struct LayerRule {
  int64_t parent;       // the layer it is a copy of
  bool is_new = false;  // added by growth, not the parent's own
};

struct AxisRule {
  // The child's axis as slices of the parent's, in steps of the axis (a slice
  // of kHead counts heads). An absent axis is unchanged.
  std::map<Axis, std::vector<Slice>> axes;

  // One entry per child layer; empty: the parent's own, in order.
  std::vector<LayerRule> layers;
  // The output projections (o and every down) of new layers are zero, so that
  // a new layer is the identity.
  bool zero_new_outputs = false;

  // True: the experts are copies of the dense feed-forward, the router is new.
  bool dense_to_experts = false;
  Source new_router = Source::kRandomRouter;
  double router_std = 0;

  // A tied parent whose residual axis is copied n times would get logits n
  // times too large. Untied, the child's head is the table's copies / n; folded
  // (child still tied), the final norm's gain is divided by n. Which of the two
  // follows from the child's config.

  // Cancelling noise on q, k, v, o, gate, up and down, where b > 1.
  std::optional<double> noise_snr_db;
};

// The whole axis of `size` steps, `copies` times over.
std::vector<Slice> tile(int64_t size, int64_t copies);

// Fills tensors, layer_map and layer_is_mapped of a recipe whose parent and
// child configs are set.
void derive(const AxisRule& rule, Recipe& recipe);

}  // namespace annuli::grow
