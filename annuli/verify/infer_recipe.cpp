#include "annuli/verify/infer_recipe.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "annuli/config/grown_shape.h"
#include "annuli/config/model_fields.h"
#include "annuli/config/phase_plan.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/verify/demands.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {
namespace {

// The child's shapes with the parent's settings: what a growth is recognised
// by. Settings that differ are a fault, not a growth, and config_audit's to
// find.
ModelConfig shapes_of(const ModelConfig& child, const ModelConfig& parent) {
  ModelConfig shapes = child;
  visit_model_fields([&](const ModelField& field, auto member, auto) {
    if (field.kind != FieldKind::kShape) shapes.*member = parent.*member;
  });
  return shapes;
}

bool same_shapes(const ModelConfig& a, const ModelConfig& b) {
  return shapes_of(a, b) == b;
}

// Of any row of that part: a new layer whose outputs are zero, a router.
bool has_zero(const Transformer& child, Part part) {
  for (size_t row = 0; row < child.table().size(); ++row) {
    if (child.table()[row].part == part &&
        child.weight(row).abs().max().item<double>() == 0) {
      return true;
    }
  }
  return false;
}

// A recipe in which every tensor is the parent's own.
grow::Recipe identity_recipe(const ModelConfig& parent) {
  grow::Recipe recipe;
  recipe.op = "identity";
  recipe.arguments = Json::object();
  recipe.parent = parent;
  recipe.child = parent;
  grow::derive({}, recipe);
  return recipe;
}

// Nobody tells the seed of random layers: their numbers are not demanded.
void forget_numbers(grow::TensorRecipe& line) {
  const auto* fresh = line.find<grow::Fresh>();
  if (fresh != nullptr && fresh->values == FirstValues::kNormal) {
    line.set(std::make_shared<grow::Fresh>(FirstValues::kNormal));
  }
  for (grow::TensorRecipe& step : line.steps) forget_numbers(step);
}

// The parent's layer that a layer is nearest to, and how far it is from that:
// the largest difference of projections, in units of their root mean square.
struct LayerMatch {
  int64_t parent = 0;
  double distance = std::numeric_limits<double>::infinity();

  // A copy differs by roundings; what has nothing to do with the parent's
  // differs by the parent's own size at least.
  bool is_stranger() const { return distance > 0.5; }
};

// With `added` random layers among the parent's own, none at the bottom; each
// is mapped to the layer below it.
std::optional<std::vector<int64_t>> map_with_strangers(
    const std::vector<LayerMatch>& matches, int64_t added) {
  std::vector<int64_t> map;
  int64_t own = 0;
  for (const LayerMatch& match : matches) {
    if (!match.is_stranger()) {
      if (match.parent != own) return std::nullopt;
      ++own;
    }
    if (own == 0) return std::nullopt;
    map.push_back(own - 1);
  }
  const bool right = std::ssize(matches) - own == added;
  return right ? std::optional(map) : std::nullopt;
}

class Inference {
 public:
  Inference(const ModelConfig& parent, const std::vector<Sketch>& sketches,
            const Transformer& child, int64_t parents)
      : parent_(parent),
        parent_table_(tensor_table(parent)),
        sketches_(sketches),
        child_(child),
        grown_(shapes_of(child.config(), parent)),
        parents_(parents) {}

  grow::Recipe recipe() {
    add_positions();
    add_experts();
    add_width();
    add_head();
    add_depth();
    grow::Recipe recipe = made();
    if (!same_shapes(recipe.child, grown_)) {
      user_error(
          "comparing two models: {} {} of the parent gives {}, but the child's "
          "shapes are {}; no growth is known that makes them",
          recipe.op, recipe.arguments.dump(), to_json(recipe.child).dump(),
          to_json(grown_).dump());
    }
    return recipe;
  }

 private:
  grow::Recipe made() const {
    if (steps_.empty()) return identity_recipe(parent_);
    GrowPlan plan;
    if (steps_.size() == 1) {
      static_cast<GrowthStep&>(plan) = steps_[0];
    } else {
      plan.chain = steps_;
    }
    grow::Recipe recipe = grow::make_operator(plan)->recipe(parent_, 0);
    for (grow::TensorRecipe& line : recipe.tensors) forget_numbers(line);
    return recipe;
  }

  // What an extension by one of the methods makes of the parent's positions,
  // exactly; any other difference is a fault.
  void add_positions() {
    const ModelConfig& child = child_.config();
    if (child.max_position_embeddings <= parent_.max_position_embeddings ||
        parent_.rope_scaling.type != RopeScaling::Type::kDefault) {
      return;
    }
    ExtendPlan plan{.max_position_embeddings = child.max_position_embeddings};
    if (child.rope_theta != parent_.rope_theta) {
      plan.method = ExtendMethod::kTheta;
      plan.rope_theta = child.rope_theta;
    } else if (child.rope_scaling.type == RopeScaling::Type::kLinear) {
      plan.method = ExtendMethod::kLinear;
    }
    const ModelConfig made =
        grown_shape(parent_, {.extend = plan}, complain_of_growth);
    if (made.rope_scaling == child.rope_scaling) {
      steps_.push_back({.extend = plan});
    }
  }

  void add_experts() {
    if (!grown_.is_mixture()) return;
    if (parents_ > 1) return add_merge();
    if (!parent_.is_mixture()) return add_upcycle();
    if (grown_.num_experts == parent_.num_experts) return;
    steps_.push_back({.expand_experts = ExpandExpertsPlan{
                          .factor = grown_.num_experts / parent_.num_experts,
                          .num_experts_per_tok = grown_.num_experts_per_tok,
                          .selection_bias = closes_copies()}});
  }

  // Copies that the parent's number of experts leaves out.
  bool closes_copies() const {
    return grown_.selection_bias && parent_.norm_topk_prob &&
           grown_.num_experts_per_tok == parent_.num_experts_per_tok;
  }

  void add_merge() {
    MergeExpertsPlan plan{.num_experts_per_tok = grown_.num_experts_per_tok,
                          .router = router(),
                          .router_std = 0};  // unknown
    plan.with.resize(parents_ - 1, "another parent");
    steps_.push_back({.merge_experts = plan});
  }

  // A child whose experts are narrower than the dense layer was cut in shards.
  void add_upcycle() {
    const int64_t F = parent_.intermediate_size;
    const int64_t own = grown_.intermediate_size;
    const int64_t shards =
        own < F && F % own == 0 && grown_.num_experts % (F / own) == 0 ? F / own
                                                                       : 1;
    UpcyclePlan plan{.num_experts = grown_.num_experts / shards,
                     .num_experts_per_tok = grown_.num_experts_per_tok,
                     .router = router(),
                     .router_std = 0,  // unknown
                     .granularity = shards,
                     .shared_expert = grown_.has_shared_expert(),
                     .selection_bias = grown_.selection_bias};
    steps_.push_back({.upcycle = plan});
    if (shards > 1 && up_is_scaled()) {
      steps_.back().upcycle->shard_scale = ShardScale::kUpAndDown;
    }
  }

  RouterInit router() const {
    return has_zero(child_, Part::kRouter) ? RouterInit::kZero
                                           : RouterInit::kRandom;
  }

  // Of the two ways to make up for the gates, the one that is nearer.
  bool up_is_scaled() const {
    const grow::Recipe recipe = made();
    const int64_t row = find_row(child_.table(), Part::kUp, 0, 0);
    if (!same_rows_at(recipe, row)) return false;
    const double plain = distance(recipe, row, row, 1);
    const double shards =
        static_cast<double>(steps_.back().upcycle->granularity);
    return distance(recipe, row, row, std::sqrt(shards)) < plain;
  }

  void add_width() {
    WidenPlan plan{.noise_snr_db = std::nullopt};
    const auto set = [](std::optional<int64_t>& size, int64_t parent,
                        int64_t child) {
      if (child != parent) size = child;
    };
    const ModelConfig before = made().child;
    set(plan.hidden, before.hidden_size, grown_.hidden_size);
    set(plan.heads, before.num_attention_heads, grown_.num_attention_heads);
    set(plan.kv_heads, before.num_key_value_heads, grown_.num_key_value_heads);
    set(plan.ffn, before.intermediate_size, grown_.intermediate_size);
    set(plan.shared_ffn, before.shared_expert_intermediate_size,
        grown_.shared_expert_intermediate_size);
    if (!plan.hidden && !plan.heads && !plan.kv_heads && !plan.ffn &&
        !plan.shared_ffn) {
      return;
    }
    plan.head = head();
    steps_.push_back({.widen = plan});
  }

  WidenHead head() const {
    if (!parent_.tie_word_embeddings || !grown_.tie_word_embeddings) {
      return WidenHead::kUntie;
    }
    const bool divided =
        child_.config().logit_multiplier != parent_.logit_multiplier;
    return divided ? WidenHead::kMultiplier : WidenHead::kFold;
  }

  void add_head() {
    if (made().child.tie_word_embeddings && !grown_.tie_word_embeddings) {
      steps_.push_back({.untie = UntiePlan{}});
    }
  }

  void add_depth() {
    if (grown_.num_hidden_layers <= parent_.num_hidden_layers) return;
    const grow::Recipe so_far = made();
    ModelConfig as_deep = so_far.child;
    as_deep.num_hidden_layers = grown_.num_hidden_layers;
    // Layers can be matched only where they have the shapes.
    if (!same_shapes(as_deep, grown_)) return;
    DeepenPlan plan;
    const std::vector<LayerMatch> matches = match_layers(so_far);
    for (const LayerMatch& match : matches) {
      plan.layer_map.push_back(match.parent);
    }
    if (const auto map = map_with_strangers(
            matches, grown_.num_hidden_layers - parent_.num_hidden_layers)) {
      plan.layer_map = *map;
      plan.weights = LayerSource::kRandom;
    }
    const Part output = grown_.norm_placement == NormPlacement::kPost
                            ? Part::kAttentionOutNorm
                            : Part::kO;
    plan.outputs =
        has_zero(child_, output) ? DeepenOutputs::kZero : DeepenOutputs::kKeep;
    steps_.push_back({.deepen = plan});
  }

  // For every child layer the parent's that is nearest.
  std::vector<LayerMatch> match_layers(const grow::Recipe& so_far) const {
    std::vector<LayerMatch> matches;
    for (int64_t layer = 0; layer < grown_.num_hidden_layers; ++layer) {
      LayerMatch best;
      for (int64_t from = 0; from < parent_.num_hidden_layers; ++from) {
        const double distance = layer_distance(so_far, from, layer);
        if (distance < best.distance) best = {from, distance};
      }
      matches.push_back(best);
    }
    return matches;
  }

  // The mean over projections in front of the outputs, which depth growth never
  // zeroes.
  double layer_distance(const grow::Recipe& so_far, int64_t from,
                        int64_t layer) const {
    const TensorTable middle = tensor_table(so_far.child);
    const Demands demands(so_far);
    double sum = 0;
    int64_t parts = 0;
    for (const Part part : {Part::kQ, Part::kK, Part::kV, Part::kQkv}) {
      const int64_t found = find_row(middle, part, from);
      if (found < 0) continue;
      const auto line = static_cast<size_t>(found);
      const int64_t row = find_row(child_.table(), part, layer);
      sum += distance(so_far, line, row, demands.factor(line));
      ++parts;
    }
    return sum / static_cast<double>(parts);
  }

  bool same_rows_at(const grow::Recipe& recipe, int64_t row) const {
    return row >= 0 && row < static_cast<int64_t>(recipe.tensors.size()) &&
           recipe.tensors[row].shape == child_.table()[row].shape();
  }

  // Of the child's row from what a line of the recipe makes.
  double distance(const grow::Recipe& recipe, size_t line, int64_t row,
                  double factor) const {
    const grow::TensorRecipe& tensor = recipe.tensors.at(line);
    const int64_t from = find_row(parent_table_, tensor.parent);
    return sketch_distance(sketches_[from],
                           {.parent = parent_table_[from],
                            .recipe = tensor,
                            .child = child_.table()[row],
                            .factor = factor,
                            .new_produced_is_zero = false},
                           child_.weight(row))
        .kept;
  }

  const ModelConfig& parent_;
  TensorTable parent_table_;
  const std::vector<Sketch>& sketches_;
  const Transformer& child_;
  ModelConfig grown_;
  int64_t parents_;
  std::vector<GrowthStep> steps_;
};

}  // namespace

grow::Recipe infer_recipe(const ModelConfig& parent,
                          const std::vector<Sketch>& parent_sketches,
                          const Transformer& child, int64_t parents) {
  return Inference(parent, parent_sketches, child, parents).recipe();
}

}  // namespace annuli::verify
