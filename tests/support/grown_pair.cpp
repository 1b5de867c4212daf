#include "tests/support/grown_pair.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/extend.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/transforms/closed_copies.h"
#include "annuli/grow/transforms/drop.h"
#include "annuli/grow/transforms/perturb.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/verify_growth.h"

namespace annuli::tiny {
namespace {

void add_case(std::vector<GrowthCase>& cases, const char* name,
              const Flavour& flavour,
              std::shared_ptr<const grow::Operator> op) {
  cases.push_back(
      {std::string(name) + "_" + name_of(flavour), flavour, std::move(op)});
}

// What the shapes of other families have: a dense model with every bias, norms
// over all heads and behind the blocks, a mixture with a shared expert.
const Flavour kBiased = {.gated = true,
                         .tied = false,
                         .num_key_value_heads = 2,
                         .qkv_bias = true,
                         .o_bias = true,
                         .mlp_bias = true};
const Flavour kPostNorm = {
    .gated = true, .tied = false, .full_qk_norm = true, .post_norm = true};
const Flavour kShared = {.mixture = true,
                         .gated = true,
                         .tied = false,
                         .num_key_value_heads = 2,
                         .qkv_bias = true,
                         .shared_expert = true};

void add_upcyclings(std::vector<GrowthCase>& cases) {
  const auto add = [&](const char* name, const Flavour& flavour,
                       const UpcyclePlan& plan) {
    add_case(cases, name, flavour, std::make_shared<grow::Upcycle>(plan));
  };
  const UpcyclePlan shards{
      .num_experts = 4, .num_experts_per_tok = 4, .granularity = 2};
  UpcyclePlan scaled_up = shards;
  scaled_up.shard_scale = ShardScale::kUpAndDown;
  const Flavour gated{.gated = true, .tied = true, .num_key_value_heads = 2};
  add("upcycle", kBiased, {.num_experts = 4, .num_experts_per_tok = 2});
  add("upcycle_shards", gated, shards);
  add("upcycle_shards", kBiased, shards);
  add("upcycle_shards_up_and_down", gated, scaled_up);
  add("upcycle_shared", gated, {.num_experts = 4, .shared_expert = true});
  for (const Flavour& flavour : {gated, kBiased}) {
    add("upcycle_drop", flavour, {.num_experts = 4, .drop_ratio = 0.5});
  }
}

void add_other_shapes(std::vector<GrowthCase>& cases) {
  using std::make_shared;
  const auto widen = [&](const char* name, const Flavour& flavour,
                         const WidenPlan& plan) {
    add_case(cases, name, flavour, make_shared<grow::Widen>(plan));
  };
  widen("widen_kv_kept", kBiased, {.hidden = 48, .heads = 8, .kv_heads = 2});
  widen("widen_ffn", kPostNorm, {.noise_snr_db = std::nullopt, .ffn = 80});
  widen("widen_padded", kBiased, {.hidden = 36});
  for (const Flavour& flavour : {kBiased, kPostNorm, kShared}) {
    widen("widen2", flavour, {2, 10, WidenHead::kUntie});
    add_case(cases, "deepen", flavour,
             make_shared<grow::Deepen>(DeepenPlan{.add_layers = 2}));
  }
  add_case(cases, "expand", kShared,
           make_shared<grow::ExpandExperts>(
               ExpandExpertsPlan{.factor = 2, .num_experts_per_tok = 4}));
  add_case(cases, "expand_k_kept", {.mixture = true, .gated = true},
           make_shared<grow::ExpandExperts>(
               ExpandExpertsPlan{.factor = 2, .num_experts_per_tok = 2}));
  const std::vector<GrowthStep> chain = {
      {.upcycle = UpcyclePlan{.num_experts = 4, .num_experts_per_tok = 2}},
      {.widen = WidenPlan{.factor = 2}},
      {.deepen = DeepenPlan{.add_layers = 1}}};
  add_case(cases, "chain", {.gated = true, .tied = false, .qk_norm = true},
           make_shared<grow::Chain>(chain));
}

// By itself, before copies are made, and on copies.
void add_perturbations(std::vector<GrowthCase>& cases) {
  const PerturbPlan every{
      .relative_std = 0.05,
      .tensors = {MatrixGroup::kAttention, MatrixGroup::kFeedForward,
                  MatrixGroup::kRouter, MatrixGroup::kEmbedding}};
  for (const Flavour& flavour : {kBiased, kPostNorm, kShared}) {
    add_case(cases, "perturb", flavour,
             std::make_shared<grow::Perturbation>(every));
  }
  const auto add = [&](const char* name, const std::vector<GrowthStep>& steps) {
    add_case(cases, name,
             {.gated = true, .tied = true, .num_key_value_heads = 2},
             std::make_shared<grow::Chain>(steps));
  };
  const UpcyclePlan shards{
      .num_experts = 4, .num_experts_per_tok = 2, .granularity = 2};
  add("perturb_widen",
      {{.perturb = every}, {.widen = WidenPlan{2, 10, WidenHead::kUntie}}});
  add("perturb_upcycle_shards", {{.perturb = every}, {.upcycle = shards}});
  add("upcycle_perturb", {{.upcycle = UpcyclePlan{.num_experts = 4}},
                          {.perturb = PerturbPlan{.relative_std = 0.05}}});
}

// Layers that are no copies: with outputs of zero and with their own, and cut,
// tiled and padded after they were drawn.
void add_random_layers(std::vector<GrowthCase>& cases) {
  const DeepenPlan random{.add_layers = 2, .weights = LayerSource::kRandom};
  DeepenPlan kept = random;
  kept.outputs = DeepenOutputs::kKeep;
  for (const Flavour& flavour : {kBiased, kPostNorm, kShared}) {
    add_case(cases, "deepen_random", flavour,
             std::make_shared<grow::Deepen>(random));
  }
  add_case(cases, "deepen_random_keep", kBiased,
           std::make_shared<grow::Deepen>(kept));
  const auto add = [&](const char* name, const std::vector<GrowthStep>& steps) {
    add_case(cases, name, {.gated = true, .tied = false, .qk_norm = true},
             std::make_shared<grow::Chain>(steps));
  };
  add("deepen_random_widen",
      {{.deepen = random}, {.widen = WidenPlan{.factor = 2}}});
  add("deepen_random_pad",
      {{.deepen = kept}, {.widen = WidenPlan{.factor = 1.5}}});
  add("deepen_random_shards",
      {{.deepen = kept},
       {.upcycle = UpcyclePlan{.num_experts = 4, .granularity = 2}}});
}

// A head that gets the table, by itself and before it is divided.
void add_untyings(std::vector<GrowthCase>& cases) {
  const Flavour grouped{
      .gated = true, .qk_norm = true, .num_key_value_heads = 2};
  for (const Flavour& flavour :
       {grouped, Flavour{.mixture = true, .logit_multiplier = 0.25}}) {
    add_case(cases, "untie", flavour,
             std::make_shared<grow::Untie>(UntiePlan{}));
    add_case(cases, "untie_widen", flavour,
             std::make_shared<grow::Chain>(std::vector<GrowthStep>{
                 {.untie = UntiePlan{}}, {.widen = WidenPlan{.factor = 2}}}));
  }
}

void add_shrinkings(std::vector<GrowthCase>& cases) {
  const ShrinkPerturbPlan half{.shrink = 0.5, .relative_std = 0.1};
  for (const Flavour& flavour : {kBiased, kPostNorm, kShared}) {
    add_case(cases, "shrink", flavour,
             std::make_shared<grow::ShrinkPerturbation>(half));
  }
  add_case(cases, "shrink_alone", kBiased,
           std::make_shared<grow::ShrinkPerturbation>(
               ShrinkPerturbPlan{.shrink = 0.3, .relative_std = 0}));
  const auto add = [&](const char* name, const std::vector<GrowthStep>& steps) {
    add_case(cases, name,
             {.gated = true, .tied = true, .num_key_value_heads = 2},
             std::make_shared<grow::Chain>(steps));
  };
  add("shrink_widen",
      {{.shrink_perturb = half}, {.widen = WidenPlan{.factor = 2}}});
  add("widen_shrink",
      {{.widen = WidenPlan{.factor = 2, .noise_snr_db = std::nullopt}},
       {.shrink_perturb = half}});
  add("deepen_shrink",
      {{.deepen = DeepenPlan{.add_layers = 1}}, {.shrink_perturb = half}});
  add("shrink_deepen_random",
      {{.shrink_perturb = half},
       {.deepen =
            DeepenPlan{.add_layers = 1, .weights = LayerSource::kRandom}}});
}

// By each method; and before and after what changes shapes.
void add_extensions(std::vector<GrowthCase>& cases) {
  const Flavour grouped{.gated = true, .tied = true, .num_key_value_heads = 2};
  const Flavour neox{.qkv_bias = true,
                     .o_bias = true,
                     .mlp_bias = true,
                     .layer_norm = true,
                     .parallel = true,
                     .fused_qkv = true,
                     .partial_rotary = 1.0 / 3};
  const auto by = [](ExtendMethod method) {
    return ExtendPlan{.max_position_embeddings = 8192, .method = method};
  };
  const ExtendPlan yarn = by(ExtendMethod::kYarn);
  for (const Flavour& flavour :
       {grouped, neox, Flavour{.mixture = true, .gated = true}}) {
    add_case(cases, "extend", flavour, std::make_shared<grow::Extend>(yarn));
  }
  add_case(cases, "extend_theta", grouped,
           std::make_shared<grow::Extend>(by(ExtendMethod::kTheta)));
  add_case(cases, "extend_linear", grouped,
           std::make_shared<grow::Extend>(by(ExtendMethod::kLinear)));
  add_case(cases, "extend_widen", grouped,
           std::make_shared<grow::Chain>(std::vector<GrowthStep>{
               {.extend = yarn}, {.widen = WidenPlan{.factor = 2}}}));
  add_case(cases, "deepen_extend", grouped,
           std::make_shared<grow::Chain>(std::vector<GrowthStep>{
               {.deepen = DeepenPlan{.add_layers = 1}}, {.extend = yarn}}));
}

// Mixtures that are balanced by selection biases; copies of experts that such
// biases close, of a parent that has some and of one that has none, and on top
// of what other steps have made.
void add_selections(std::vector<GrowthCase>& cases) {
  using std::make_shared;
  const Flavour biased{.mixture = true,
                       .gated = true,
                       .num_key_value_heads = 2,
                       .selection_bias = true};
  const Flavour plain{
      .mixture = true, .gated = true, .tied = false, .num_key_value_heads = 2};
  const ExpandExpertsPlan closed{
      .factor = 2, .num_experts_per_tok = 2, .selection_bias = true};
  const auto add = [&](const char* name, const Flavour& flavour,
                       const std::vector<GrowthStep>& steps) {
    add_case(cases, name, flavour, make_shared<grow::Chain>(steps));
  };
  add_case(cases, "upcycle_selection", {.gated = true, .tied = false},
           make_shared<grow::Upcycle>(
               UpcyclePlan{.num_experts = 4, .selection_bias = true}));
  add_case(cases, "widen2", biased,
           make_shared<grow::Widen>(WidenPlan{2, 10, WidenHead::kUntie}));
  add_case(cases, "deepen", biased,
           make_shared<grow::Deepen>(DeepenPlan{.add_layers = 2}));
  add_case(cases, "deepen_random", biased,
           make_shared<grow::Deepen>(
               DeepenPlan{.add_layers = 2, .weights = LayerSource::kRandom}));
  add_case(cases, "shrink", biased,
           make_shared<grow::ShrinkPerturbation>(
               ShrinkPerturbPlan{.shrink = 0.5, .relative_std = 0.1}));
  add_case(cases, "expand3", biased,
           make_shared<grow::ExpandExperts>(ExpandExpertsPlan{.factor = 3}));
  for (const Flavour& flavour : {biased, plain}) {
    add_case(cases, "expand_closed", flavour,
             make_shared<grow::ExpandExperts>(closed));
  }
  add("expand_closed_widen", biased,
      {{.expand_experts = closed}, {.widen = WidenPlan{.factor = 2}}});
  add("expand_closed_twice", plain,
      {{.expand_experts = closed}, {.expand_experts = closed}});
  add("expand_closed_expand", biased,
      {{.expand_experts = closed},
       {.expand_experts = ExpandExpertsPlan{.factor = 2}}});
  add("upcycle_expand_closed", {.gated = true, .tied = false},
      {{.upcycle = UpcyclePlan{.num_experts = 4, .selection_bias = true}},
       {.expand_experts = closed}});
}

// The noise of the widening cancels over all shards of a copy only.
void add_chain(std::vector<GrowthCase>& cases) {
  const UpcyclePlan shards{
      .num_experts = 4, .num_experts_per_tok = 2, .granularity = 2};
  add_case(cases, "widen_upcycle_shards",
           {.gated = true, .tied = true, .num_key_value_heads = 2},
           std::make_shared<grow::Chain>(std::vector<GrowthStep>{
               {.widen = WidenPlan{2, 10, WidenHead::kUntie}},
               {.upcycle = shards}}));
}

}  // namespace

verify::Probe probe(const ModelConfig& config) {
  verify::Probe probe;
  for (uint64_t window = 0; window < 2; ++window) {
    probe.tokens.push_back(tokens(1, 16, config.vocab_size, 20 + 2 * window));
    probe.targets.push_back(tokens(1, 16, config.vocab_size, 21 + 2 * window));
  }
  probe.router_tokens = tokens(4, 64, config.vocab_size, 30);
  return probe;
}

std::vector<verify::Verdict> GrownPair::verdicts() {
  return verify::verify_growth({.parent = record,
                                .recipe = recipe,
                                .probe = probe,
                                .control = control ? &*control : nullptr},
                               child);
}

size_t GrownPair::row(Part part, int64_t layer, int64_t expert) const {
  const int64_t row = find_row(child.table(), part, layer, expert);
  ANNULI_CHECK(row >= 0, "no {} in layer {}", to_string(part), layer);
  return static_cast<size_t>(row);
}

at::Tensor GrownPair::weight(Part part, int64_t layer, int64_t expert) const {
  return child.weight(row(part, layer, expert));
}

GrownPair grown_pair(const Transformer& parent, const grow::Recipe& recipe) {
  const verify::Probe text = probe(parent.config());
  auto record =
      verify::ParentRecord::take(parent, text, recipe.width_factor > 1,
                                 {recipe.router_centroids(), recipe.seed});
  const std::vector<at::Tensor>& rows =
      record.centroids.empty() ? record.feed_forward_mean : record.centroids;
  std::optional<verify::SymmetryControl> control;
  if (recipe.has_noise()) {
    control = verify::symmetry_control(
        parent, recipe, text, parallel::solo(),
        recipe.needs_router_mean() ? rows : std::vector<at::Tensor>());
  }
  Transformer child = grow::grow(clone(parent), recipe, rows);
  return {clone(parent),     text,    recipe,
          std::move(record), control, std::move(child)};
}

GrownPair grown_pair(const Flavour& flavour, const grow::Operator& op,
                     at::ScalarType dtype) {
  const Transformer parent = model(config(flavour), dtype);
  return grown_pair(parent, op.recipe(parent.config(), 3));
}

std::vector<GrowthCase> growth_cases() {
  using std::make_shared;
  const std::vector<Flavour> dense = {
      {.gated = false, .tied = true},
      {.gated = true, .tied = true, .qk_norm = true, .num_key_value_heads = 2},
      {.gated = true, .tied = false, .num_key_value_heads = 1}};
  const std::vector<Flavour> mixtures = {
      {.mixture = true, .gated = false, .tied = false},
      {.mixture = true,
       .gated = true,
       .tied = true,
       .qk_norm = true,
       .num_key_value_heads = 2}};
  std::vector<Flavour> all = dense;
  all.insert(all.end(), mixtures.begin(), mixtures.end());

  std::vector<GrowthCase> cases;
  for (const Flavour& flavour : dense) {
    add_case(cases, "upcycle", flavour,
             make_shared<grow::Upcycle>(
                 UpcyclePlan{.num_experts = 4, .num_experts_per_tok = 2}));
  }
  for (const Flavour& flavour : all) {
    add_case(cases, "widen2", flavour,
             make_shared<grow::Widen>(WidenPlan{2, 10, WidenHead::kUntie}));
    if (flavour.tied) {
      add_case(cases, "widen2_fold", flavour,
               make_shared<grow::Widen>(WidenPlan{2, 10, WidenHead::kFold}));
    }
    add_case(cases, "widen3", flavour,
             make_shared<grow::Widen>(WidenPlan{3, 10, WidenHead::kUntie}));
    add_case(cases, "deepen", flavour,
             make_shared<grow::Deepen>(DeepenPlan{.add_layers = 2}));
  }
  add_upcyclings(cases);
  add_other_shapes(cases);
  add_chain(cases);
  add_perturbations(cases);
  add_random_layers(cases);
  add_untyings(cases);
  add_shrinkings(cases);
  add_extensions(cases);
  add_selections(cases);
  return cases;
}

bool can_be_inferred(const grow::Recipe& recipe) {
  const bool is_chain = recipe.op == "chain";
  if (is_chain && verify::shards_of(recipe) > 1) return false;
  if (is_chain && recipe.width_factor > 1 &&
      recipe.parent.tie_word_embeddings && !recipe.child.tie_word_embeddings) {
    return false;
  }
  const auto draws = [](const grow::TransformPtr& transform) {
    return transform->name() == std::string_view(grow::Drop::kName) ||
           transform->added() != nullptr;
  };
  // How many of the experts were copied once more nobody tells, nor how often.
  const bool is_closed = !verify::closed_by(recipe).empty();
  const bool once = recipe.child.num_experts == 2 * recipe.parent.num_experts;
  if (is_closed && !once) return false;
  return std::ranges::none_of(
      recipe.tensors, [&](const grow::TensorRecipe& tensor) {
        const bool laid_out = tensor.source == grow::Source::kFresh &&
                              !tensor.steps.empty() &&
                              tensor.find<grow::ClosedCopies>() == nullptr;
        return laid_out || std::ranges::any_of(tensor.transforms, draws);
      });
}

const verify::Verdict* first_failure(
    const std::vector<verify::Verdict>& verdicts) {
  for (const verify::Verdict& verdict : verdicts) {
    if (!verdict.passed) return &verdict;
  }
  return nullptr;
}

const verify::Verdict* first_failure(
    const std::vector<verify::Verdict>& verdicts, const std::string& check) {
  for (const verify::Verdict& verdict : verdicts) {
    if (verdict.check == check && !verdict.passed) return &verdict;
  }
  return nullptr;
}

std::string lines(const std::vector<verify::Verdict>& verdicts) {
  std::string text;
  for (const verify::Verdict& verdict : verdicts) {
    text += to_line(verdict) + "\n";
  }
  return text;
}

}  // namespace annuli::tiny
