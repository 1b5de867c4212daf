#include "annuli/grow/widen.h"

#include "annuli/core/error.h"

namespace annuli::grow {
namespace {

void check_options(const WidenOptions& options) {
  if (options.factor < 2) {
    user_error("widening: factor {}, expected a whole number from 2 on",
               options.factor);
  }
  // Entry by entry noise stays within 3 |W/b| (see cancelling_noise.h), which
  // leaves any SNR down to -9.5 dB; below 0 dB it would no longer be the
  // parent's matrix in any sense.
  if (options.noise_snr_db && !(*options.noise_snr_db >= 0)) {
    user_error("widening: noise_snr_db {}, expected at least 0",
               *options.noise_snr_db);
  }
}

}  // namespace

AxisRule axis_rule(const WidenOptions& options, const ModelConfig& parent) {
  const int64_t n = options.factor;
  AxisRule rule;
  rule.axes = {
      {Axis::kResidual, tile(parent.hidden_size, n)},
      {Axis::kHead, tile(parent.num_attention_heads, n)},
      {Axis::kKvHead, tile(parent.num_key_value_heads, n)},
      {Axis::kFfn, tile(parent.intermediate_size, n)},
  };
  rule.noise_snr_db = options.noise_snr_db;
  return rule;
}

Recipe Widen::recipe(const ModelConfig& parent, uint64_t seed) const {
  check_options(options_);
  const int64_t n = options_.factor;
  Recipe recipe;
  recipe.op = name();
  recipe.arguments = {
      {"factor", n},
      {"head", options_.head == WidenHead::kUntie ? "untie" : "fold"}};
  if (options_.noise_snr_db) {
    recipe.arguments["noise_snr_db"] = *options_.noise_snr_db;
  }
  recipe.seed = seed;
  recipe.parent = parent;
  recipe.child = parent;
  recipe.child.hidden_size *= n;
  recipe.child.num_attention_heads *= n;
  recipe.child.num_key_value_heads *= n;
  recipe.child.intermediate_size *= n;
  if (options_.head == WidenHead::kUntie) {
    recipe.child.tie_word_embeddings = false;
  }
  recipe.width_factor = n;
  validate(recipe.child);
  derive(axis_rule(options_, parent), recipe);
  return recipe;
}

}  // namespace annuli::grow
