#include "annuli/verify/infer_recipe.h"

#include <fmt/core.h>

#include <limits>

#include "annuli/config/phase_plan.h"
#include "annuli/core/error.h"
#include "annuli/grow/registry.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {
namespace {

// Distance of two layers: of the gains and projections in front of the outputs,
// which depth growth never zeroes.
double layer_distance(const TensorTable& parent_table,
                      const std::vector<Sketch>& parent, int64_t parent_layer,
                      const Transformer& child, int64_t child_layer) {
  double distance = 0;
  for (const Part part : {Part::kInputNorm, Part::kQ, Part::kV}) {
    const int64_t from = find_row(parent_table, part, parent_layer);
    const int64_t to = find_row(child.table(), part, child_layer);
    grow::TensorRecipe same;
    for (const Dimension& dimension : parent_table[from].dimensions) {
      same.dimensions.push_back({{{0, dimension.size()}}, 1});
    }
    distance = worse(distance,
                     sketch_distance(parent[from], parent_table[from], same,
                                     child.table()[to], child.weight(to), 1));
  }
  return distance;
}

std::vector<int64_t> match_layers(const ModelConfig& parent,
                                  const std::vector<Sketch>& sketches,
                                  const Transformer& child) {
  const TensorTable parent_table = tensor_table(parent);
  std::vector<int64_t> map;
  for (int64_t layer = 0; layer < child.config().num_hidden_layers; ++layer) {
    double nearest = std::numeric_limits<double>::infinity();
    int64_t best = 0;
    for (int64_t from = 0; from < parent.num_hidden_layers; ++from) {
      const double distance =
          layer_distance(parent_table, sketches, from, child, layer);
      if (distance < nearest) {
        nearest = distance;
        best = from;
      }
    }
    map.push_back(best);
  }
  return map;
}

// Of output projections: a new layer where it is zero is the identity.
bool has_zero(const Transformer& child, Part part) {
  for (size_t row = 0; row < child.table().size(); ++row) {
    if (child.table()[row].part == part &&
        child.weight(row).abs().max().item<double>() == 0) {
      return true;
    }
  }
  return false;
}

// The child's shapes with the parent's settings: what a growth is recognised by.
// Settings that differ are a fault, not a growth, and config_audit's to find.
ModelConfig shapes_of(const ModelConfig& child, const ModelConfig& parent) {
  ModelConfig shapes = child;
  shapes.hidden_act = parent.hidden_act;
  shapes.norm_topk_prob = parent.norm_topk_prob;
  shapes.norm_placement = parent.norm_placement;
  shapes.logit_multiplier = parent.logit_multiplier;
  shapes.rms_norm_eps = parent.rms_norm_eps;
  shapes.rope_theta = parent.rope_theta;
  shapes.rope_scaling = parent.rope_scaling;
  shapes.max_position_embeddings = parent.max_position_embeddings;
  shapes.initializer_range = parent.initializer_range;
  return shapes;
}

// Layers can be matched only where they have the same shapes.
bool differ_in_depth_only(ModelConfig parent, const ModelConfig& child) {
  parent.num_hidden_layers = child.num_hidden_layers;
  return parent == child;
}

GrowPlan growth_between(const ModelConfig& parent,
                        const std::vector<Sketch>& sketches,
                        const Transformer& child) {
  const ModelConfig grown = shapes_of(child.config(), parent);
  GrowPlan plan;
  if (!parent.is_mixture() && grown.is_mixture()) {
    plan.upcycle = UpcyclePlan{.num_experts = grown.num_experts,
                               .num_experts_per_tok = grown.num_experts_per_tok,
                               .router = has_zero(child, Part::kRouter)
                                             ? RouterInit::kZero
                                             : RouterInit::kRandom,
                               .router_std = 0};  // unknown
  } else if (grown.hidden_size > parent.hidden_size) {
    plan.widen =
        WidenPlan{.factor = grown.hidden_size / parent.hidden_size,
                  .noise_snr_db = std::nullopt,
                  .head = grown.tie_word_embeddings ? WidenHead::kFold
                                                    : WidenHead::kUntie};
  } else if (grown.num_hidden_layers > parent.num_hidden_layers &&
             differ_in_depth_only(parent, grown)) {
    plan.deepen = DeepenPlan{
        .add_layers = grown.num_hidden_layers - parent.num_hidden_layers,
        .outputs = has_zero(child, Part::kO) ? DeepenOutputs::kZero
                                             : DeepenOutputs::kKeep,
        .layer_map = match_layers(parent, sketches, child)};
  } else {
    user_error(
        "comparing two models: the child has neither experts that the parent "
        "lacks, nor more width, nor more layers of the same shape; expected "
        "the result of upcycle, widen or deepen");
  }
  return plan;
}

}  // namespace

grow::Recipe infer_recipe(const ModelConfig& parent,
                          const std::vector<Sketch>& parent_sketches,
                          const Transformer& child) {
  const GrowPlan plan = growth_between(parent, parent_sketches, child);
  grow::Recipe recipe = grow::make_operator(plan)->recipe(parent, 0);
  if (!(shapes_of(recipe.child, parent) ==
        shapes_of(child.config(), parent))) {
    user_error(
        "comparing two models: {} of the parent gives {}, but the "
        "child's config is {}",
        recipe.op, to_json(recipe.child).dump(),
        to_json(child.config()).dump());
  }
  return recipe;
}

}  // namespace annuli::verify
