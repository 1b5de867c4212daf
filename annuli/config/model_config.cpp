#include "annuli/config/model_config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr int64_t kLargestSize = int64_t{1} << 31;
constexpr int64_t kLargestCount = int64_t{1} << 16;  // of layers, of experts
// Of all layers: each expert is some rows of the tensor table.
constexpr int64_t kMostExperts = int64_t{1} << 17;
constexpr double kMostParameters = 1e15;

struct Size {
  const char* name;
  int64_t value;
  int64_t largest;
};

void check_sizes(const ModelConfig& config) {
  const std::initializer_list<Size> sizes = {
      {"vocab_size", config.vocab_size, kLargestSize},
      {"hidden_size", config.hidden_size, kLargestSize},
      {"intermediate_size", config.intermediate_size, kLargestSize},
      {"num_hidden_layers", config.num_hidden_layers, kLargestCount},
      {"num_attention_heads", config.num_attention_heads, kLargestCount},
      {"num_key_value_heads", config.num_key_value_heads, kLargestCount},
      {"head_dim", config.head_dim, kLargestSize},
      {"max_position_embeddings", config.max_position_embeddings, kLargestSize},
  };
  for (const auto& [name, value, largest] : sizes) {
    if (value < 1 || value > largest) {
      user_error("checking the model: {} is {}, expected 1 to {}", name, value,
                 largest);
    }
  }
}

void check_experts(const ModelConfig& config) {
  const int64_t experts = config.num_experts;
  const int64_t chosen = config.num_experts_per_tok;
  if (experts == 0 && chosen == 0) return;
  if (chosen < 1 || chosen > experts || experts > kLargestCount) {
    user_error(
        "checking the model: num_experts_per_tok {} of num_experts {}, "
        "expected 1 to num_experts, at most {}, or both 0 for a dense model",
        chosen, experts, kLargestCount);
  }
}

// What only a mixture has.
void check_mixture_only(const ModelConfig& config) {
  const int64_t shared = config.shared_expert_intermediate_size;
  if (shared < 0 || shared > kLargestSize) {
    user_error(
        "checking the model: shared_expert_intermediate_size is {}, expected 0 "
        "to {}",
        shared, kLargestSize);
  }
  if (config.is_mixture()) return;
  if (shared > 0) {
    user_error(
        "checking the model: shared_expert_intermediate_size is {} in a dense "
        "model, expected 0",
        shared);
  }
  if (!config.norm_topk_prob) {
    user_error(
        "checking the model: norm_topk_prob is false in a dense model, "
        "expected true");
  }
  if (config.selection_bias) {
    user_error(
        "checking the model: selection_bias is true in a dense model, which "
        "has no experts to choose; expected false, or num_experts 2 or more");
  }
}

// Each size may be possible, and all of them together not.
void check_total(const ModelConfig& config) {
  const int64_t experts = config.num_hidden_layers * config.num_experts;
  if (experts > kMostExperts) {
    user_error(
        "checking the model: num_hidden_layers {} of num_experts {} are {} "
        "experts, expected at most {}",
        config.num_hidden_layers, config.num_experts, experts, kMostExperts);
  }
  const auto product = [](auto... sizes) {
    return (... * static_cast<double>(sizes));
  };
  const double width = product(config.intermediate_size,
                               std::max<int64_t>(config.num_experts, 1)) +
                       product(config.shared_expert_intermediate_size) +
                       product(config.num_attention_heads, config.head_dim);
  const double parameters =
      product(config.hidden_size, config.num_hidden_layers, width) +
      product(config.hidden_size, config.vocab_size);
  if (parameters > kMostParameters) {
    user_error(
        "checking the model: its sizes multiply to about {:.1e} parameters, "
        "expected at most {:.0e}",
        parameters, kMostParameters);
  }
}

void check_positive(const char* name, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    user_error("checking the model: {} is {}, expected a positive number", name,
               value);
  }
}

void check_yarn(const RopeScaling& scaling) {
  check_positive("rope_scaling's beta_slow", scaling.beta_slow);
  check_positive("rope_scaling's attention_factor", scaling.attention_factor);
  if (scaling.factor < 1) {
    user_error(
        "checking the model: rope_scaling's factor is {}, expected at least 1 "
        "for yarn",
        scaling.factor);
  }
  if (!(scaling.beta_fast > scaling.beta_slow) ||
      !std::isfinite(scaling.beta_fast)) {
    user_error(
        "checking the model: rope_scaling's beta_fast is {}, expected more "
        "than beta_slow {}",
        scaling.beta_fast, scaling.beta_slow);
  }
}

void check_rope_scaling(const RopeScaling& scaling) {
  using Type = RopeScaling::Type;
  if (scaling.type == Type::kDefault) return;
  check_positive("rope_scaling's factor", scaling.factor);
  if (scaling.type == Type::kLinear) return;
  check_positive("rope_scaling's original_max_position_embeddings",
                 static_cast<double>(scaling.original_max_position_embeddings));
  if (scaling.type == Type::kYarn) return check_yarn(scaling);
  check_positive("rope_scaling's low_freq_factor", scaling.low_freq_factor);
  check_positive("rope_scaling's high_freq_factor", scaling.high_freq_factor);
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    user_error(
        "checking the model: rope_scaling's high_freq_factor is {}, expected "
        "more than low_freq_factor {}",
        scaling.high_freq_factor, scaling.low_freq_factor);
  }
}

// What the switches of the families do not do together.
void check_switches(const ModelConfig& config) {
  const bool post = config.norm_placement == NormPlacement::kPost;
  if (post && config.norm_type == NormType::kLayer) {
    user_error(
        "checking the model: norm_placement is post and norm_type layer, "
        "which no model here computes; expected rms");
  }
  if (post && config.parallel_residual) {
    user_error(
        "checking the model: norm_placement is post in a model of parallel "
        "residuals, which no model here computes; expected pre");
  }
  if (!config.fused_qkv) return;
  if (config.num_key_value_heads != config.num_attention_heads) {
    user_error(
        "checking the model: num_key_value_heads is {}, but q, k and v are one "
        "tensor; expected num_attention_heads, {}",
        config.num_key_value_heads, config.num_attention_heads);
  }
  if (config.qk_norm != QkNorm::kNone) {
    user_error(
        "checking the model: q and k are normalised, but q, k and v are one "
        "tensor, which no model here computes");
  }
}

void check_rotary(const ModelConfig& config) {
  const double share = config.partial_rotary_factor;
  if (!(share > 0 && share <= 1)) {
    user_error(
        "checking the model: partial_rotary_factor is {}, expected above 0, at "
        "most 1",
        share);
  }
  const int64_t turned = config.rotary_dim();
  if (turned < 2 || turned % 2 != 0) {
    user_error(
        "checking the model: partial_rotary_factor {} of head_dim {} is {} "
        "entries; rotary positions need an even number of them",
        share, config.head_dim, turned);
  }
}

}  // namespace

bool RopeScaling::operator==(const RopeScaling& other) const {
  if (type != other.type) return false;
  if (type == Type::kDefault) return true;
  if (factor != other.factor) return false;
  if (type == Type::kLinear) return true;
  if (original_max_position_embeddings !=
      other.original_max_position_embeddings) {
    return false;
  }
  if (type == Type::kYarn) {
    return beta_fast == other.beta_fast && beta_slow == other.beta_slow &&
           attention_factor == other.attention_factor &&
           truncate == other.truncate;
  }
  return low_freq_factor == other.low_freq_factor &&
         high_freq_factor == other.high_freq_factor;
}

double yarn_attention_factor(double factor, double share) {
  return factor <= 1 ? 1 : 0.1 * share * std::log(factor) + 1;
}

void validate(const ModelConfig& config) {
  check_sizes(config);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    user_error(
        "checking the model: num_attention_heads {} is not a multiple of "
        "num_key_value_heads {}",
        config.num_attention_heads, config.num_key_value_heads);
  }
  if (config.head_dim % 2 != 0) {
    user_error(
        "checking the model: head_dim {} is odd; rotary positions need an even "
        "one",
        config.head_dim);
  }
  check_experts(config);
  check_mixture_only(config);
  check_total(config);
  check_switches(config);
  check_rotary(config);
  check_rope_scaling(config.rope_scaling);
  check_positive("logit_multiplier", config.logit_multiplier);
  check_positive("rms_norm_eps", config.rms_norm_eps);
  check_positive("rope_theta", config.rope_theta);
  check_positive("initializer_range", config.initializer_range);
}

}  // namespace annuli
