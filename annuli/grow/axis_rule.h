#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/tensor_table.h"

// What an operator does to the axes of a model. An operator fills one AxisRule;
// `derive` turns it into a recipe with the help of the parent's and the child's
// tensor tables. Names of tensors appear in neither.
//
// The algebra behind `derive`. A tensor whose produced dimensions hold a copies
// of the parent's and whose contracted dimensions hold b copies keeps its
// function if every block is W / b, because the b equal inputs add up.
//
// Where an axis has new entries besides (a slice with kNew), the function is
// kept because they never reach an output: a new residual coordinate is 0 in
// the embedding and in every row that writes it (o, down and their biases); a
// new unit or head is 0 in every column that reads it (down, o). The other side
// is normal with the config's initializer_range, so that gradients get through;
// new biases are 0. With n D of D' coordinates filled, the mean square of the
// residual falls by r = n D / D': gains are multiplied by sqrt(r) and eps (in
// the child's config) by r. Normalised q and k see that eps too, so they are
// multiplied by sqrt(r), which their norm takes out again.
namespace annuli::grow {

struct LayerRule {
  int64_t parent;       // the layer it is a copy of
  bool is_new = false;  // added by growth, not the parent's own
};

// The router of a mixture made from a dense parent: `rows` different rows,
// `groups` of experts that share one (each expert's row; empty: its own).
struct RouterRule {
  Source source = Source::kRandomRouter;
  double std = 0;
  bool needs_mean = false;
  bool centroids = false;
  std::vector<Slice> rows;
};

// What is done to a child's tensor that is copied; null: nothing. The line has
// its slices, copies and scale already.
using TransformRule = std::function<TransformPtr(const TensorSpec& child,
                                                 const TensorRecipe& line)>;

struct AxisRule {
  // The child's axis as slices of the parent's, in steps of the axis (a slice
  // of kHead counts heads). An absent axis is unchanged.
  std::map<Axis, std::vector<Slice>> axes;

  // One entry per child layer; empty: the parent's own, in order.
  std::vector<LayerRule> layers;
  // The output projections (o, every down, their biases) of new layers are
  // zero, so that a new layer is the identity; where outputs are normalised,
  // those norms' gains are.
  bool zero_new_outputs = false;

  // New layers are no copies: they begin as those of a new model do, with the
  // multipliers of the layer that their entry names.
  bool random_new_layers = false;

  // One entry per child expert; empty: the parent's own. Experts of a dense
  // parent and their router start training anew.
  std::vector<ExpertRule> experts;
  RouterRule router;  // of a dense parent
  // Of experts, their biases included but for down's: gates sum to 1.
  double up_scale = 1;
  double down_scale = 1;
  // No copy of an expert is chosen at first, so that the parent's own have its
  // whole gradients.
  bool copies_are_closed = false;
  int64_t expert_shards = 1;  // that each copy of a dense parent's is cut in
  bool zero_routed_outputs = false;
  // A shared expert that the parent lacks is the dense feed-forward; its gate
  // is zero, which halves it, so its down is doubled.

  // Tensors that all of several parents have a part in: everything but the
  // experts is their mean.
  int64_t models = 1;
  bool carry_state = true;         // of everything
  bool carry_expert_state = true;  // of experts and routers
  bool carry_kv_state = true;      // of what has key/value heads
  // Of a table that is untied: its moments are those of the sum of the two
  // gradients that table and head have now.
  bool carry_untied_table = false;
  bool carry_untied_head = false;

  // A tied parent whose residual axis is copied n times would get logits n
  // times too large. Untied, the child's head is the table's copies / n; with a
  // smaller logit_multiplier nothing is left to do; otherwise the final norm's
  // gain is divided by n. Which of the three follows from the child's config.

  // Asked of every tensor that is copied, and of new selection biases.
  std::vector<TransformRule> transforms;
};

// The whole axis of `size` steps, `copies` times over.
std::vector<Slice> tile(int64_t size, int64_t copies);

// How often the slices hold each entry they hold at all; checks that this is
// the same number for all.
int64_t copies_of(const std::vector<Slice>& slices);

// Cancelling noise on q, k, v, o, gate, up and down, where b > 1.
TransformRule cancelling_noise(double snr_db);

// Fills axes, experts, models, tensors, layer_map, layer_is_mapped and
// width_factor of a recipe whose parent and child configs are set.
void derive(const AxisRule& rule, Recipe& recipe);

}  // namespace annuli::grow
