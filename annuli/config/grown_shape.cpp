#include "annuli/config/grown_shape.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "annuli/config/growth_fields.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

ModelConfig upcycled(const ModelConfig& parent, const UpcyclePlan& plan,
                     const Complain& complain) {
  if (parent.is_mixture()) {
    complain("upcycle", fmt::format("found a parent with {} experts, expected "
                                    "a dense one",
                                    parent.num_experts));
  }
  const int64_t experts = plan.num_experts * plan.granularity;
  if (plan.num_experts_per_tok > experts) {
    complain("upcycle.num_experts_per_tok",
             fmt::format("found {}, expected at most num_experts, {}",
                         plan.num_experts_per_tok, experts));
  }
  if (parent.intermediate_size % plan.granularity != 0) {
    complain("upcycle.granularity",
             fmt::format("found {}, expected a divisor of intermediate_size {}",
                         plan.granularity, parent.intermediate_size));
  }
  if (plan.shard_scale == ShardScale::kUpAndDown && !parent.gated) {
    complain("upcycle.shard_scale",
             "found up-and-down, but an ungated feed-forward is not "
             "proportional to up; expected down");
  }
  if (plan.shared_expert && plan.drop_ratio > 0) {
    complain("upcycle.drop_ratio",
             "found it beside shared_expert, whose routed experts add nothing "
             "anyway; expected one of the two");
  }
  ModelConfig child = parent;
  child.num_experts = experts;
  child.num_experts_per_tok = plan.num_experts_per_tok;
  child.intermediate_size /= plan.granularity;
  child.norm_topk_prob = true;
  child.selection_bias = plan.selection_bias;
  if (plan.shared_expert) {
    child.shared_expert_intermediate_size = parent.intermediate_size;
  }
  return child;
}

// The sizes of a widening's child.
class Widening {
 public:
  Widening(const ModelConfig& parent, const WidenPlan& plan,
           const Complain& complain)
      : parent_(parent),
        plan_(plan),
        complain_(complain),
        factor_(plan.factor.value_or(has_sizes(plan) ? 1 : 2)) {}

  ModelConfig child() const {
    check_options();
    ModelConfig child = parent_;
    child.hidden_size = target("hidden", plan_.hidden, parent_.hidden_size);
    child.num_attention_heads =
        target("heads", plan_.heads, parent_.num_attention_heads);
    child.num_key_value_heads =
        parent_.fused_qkv && !plan_.kv_heads
            ? child.num_attention_heads
            : target("kv_heads", plan_.kv_heads, parent_.num_key_value_heads);
    child.intermediate_size =
        target("ffn", plan_.ffn, parent_.intermediate_size);
    if (parent_.has_shared_expert()) {
      child.shared_expert_intermediate_size =
          target("shared_ffn", plan_.shared_ffn,
                 parent_.shared_expert_intermediate_size);
    }
    if (child == parent_) {
      complain_("widen",
                "found no axis that grows; give a factor above 1, or hidden, "
                "heads or ffn above the parent's");
    }
    check_heads(child);
    set_residual(child);
    return child;
  }

 private:
  static bool has_sizes(const WidenPlan& plan) {
    return plan.hidden || plan.heads || plan.kv_heads || plan.ffn ||
           plan.shared_ffn;
  }

  void check_options() const {
    // Entry by entry noise stays within 3 |W/b| (see cancelling_noise.h),
    // which leaves any SNR down to -9.5 dB; below 0 dB it would no longer be
    // the parent's matrix in any sense.
    if (plan_.noise_snr_db && !(*plan_.noise_snr_db >= 0)) {
      complain_("widen.noise_snr_db", fmt::format("found {}, expected at "
                                                  "least 0",
                                                  *plan_.noise_snr_db));
    }
    if (!(factor_ >= 1)) {
      complain_("widen.factor",
                fmt::format("found {}, expected at least 1", factor_));
    }
    if (plan_.shared_ffn && !parent_.has_shared_expert()) {
      complain_("widen.shared_ffn", "the parent has no shared expert");
    }
    if (plan_.head != WidenHead::kUntie && !parent_.tie_word_embeddings) {
      complain_(
          "widen.head",
          fmt::format("found {}, but the parent's head is its own "
                      "already; expected untie",
                      plan_.head == WidenHead::kFold ? "fold" : "multiplier"));
    }
  }

  int64_t target(const char* name, const std::optional<int64_t>& asked,
                 int64_t size) const {
    const std::string key = fmt::format("widen.{}", name);
    if (asked && *asked < size) {
      complain_(key, fmt::format("found {}, expected at least the parent's {}",
                                 *asked, size));
    }
    if (asked) return *asked;
    const double wanted = factor_ * static_cast<double>(size);
    if (std::abs(wanted - std::round(wanted)) > 1e-6) {
      complain_("widen.factor",
                fmt::format("found {}, which makes {} of {} {}; expected a "
                            "whole number, or {}",
                            factor_, wanted, size, name, key));
    }
    return std::llround(wanted);
  }

  // A query head reads kv head h / (H / K), so copies and new heads must fill
  // groups of one size; see head_layout.h.
  void check_heads(const ModelConfig& child) const {
    const int64_t H = parent_.num_attention_heads;
    const int64_t K = parent_.num_key_value_heads;
    const int64_t heads = child.num_attention_heads;
    const int64_t kv_heads = child.num_key_value_heads;
    if (heads % kv_heads != 0) {
      complain_("widen.heads", fmt::format("found {}, expected a multiple of "
                                           "{} kv heads",
                                           heads, kv_heads));
    }
    if (parent_.fused_qkv && heads != kv_heads) {
      complain_("widen.kv_heads",
                fmt::format("found {}, but q, k and v are one tensor; expected "
                            "as many as heads, {}",
                            kv_heads, heads));
    }
    const int64_t group = heads / kv_heads;
    const bool splits = group < H / K;
    if (splits && (heads % H != 0 || kv_heads % (K * (heads / H)) != 0)) {
      complain_("widen.kv_heads",
                fmt::format("found {} for {} heads, which splits the groups of "
                            "{} heads unevenly; expected a multiple of {}",
                            kv_heads, heads, H / K, K * (heads / H)));
    }
    const bool has_new = kv_heads % K != 0 || (!splits && group % (H / K) != 0);
    if (has_new && parent_.qk_norm == QkNorm::kFull) {
      complain_("widen.heads",
                fmt::format("found {} and {} kv heads, but q and k are "
                            "normalised over all heads at once, so that new "
                            "heads would change the old ones; expected "
                            "multiples of {} and {}",
                            heads, kv_heads, H, K));
    }
  }

  // n copies fill n D of the D' coordinates, zeros the rest; the mean square
  // falls by n D / D', and eps with it.
  void set_residual(ModelConfig& child) const {
    const int64_t D = parent_.hidden_size;
    const int64_t copies = child.hidden_size / D;
    if (child.hidden_size % D != 0 && parent_.norm_type == NormType::kLayer) {
      complain_("widen.hidden",
                fmt::format("found {}, but LayerNorm subtracts the mean, which "
                            "coordinates of zeros would change; expected a "
                            "multiple of {}",
                            child.hidden_size, D));
    }
    if (child.hidden_size % D != 0) {
      child.rms_norm_eps *= static_cast<double>(copies * D) /
                            static_cast<double>(child.hidden_size);
    }
    if (copies == 1 || !parent_.tie_word_embeddings) return;
    if (plan_.head == WidenHead::kUntie) child.tie_word_embeddings = false;
    if (plan_.head == WidenHead::kMultiplier) {
      child.logit_multiplier /= static_cast<double>(copies);
    }
  }

  const ModelConfig& parent_;
  const WidenPlan& plan_;
  const Complain& complain_;
  double factor_;
};

ModelConfig expanded(const ModelConfig& parent, const ExpandExpertsPlan& plan,
                     const Complain& complain) {
  if (!parent.is_mixture()) {
    complain("expand_experts", "found a dense parent, expected a mixture");
  }
  ModelConfig child = parent;
  child.num_experts *= plan.factor;
  child.num_experts_per_tok = plan.num_experts_per_tok.value_or(
      parent.num_experts_per_tok * plan.factor);
  if (child.num_experts_per_tok > child.num_experts) {
    complain("expand_experts.num_experts_per_tok",
             fmt::format("found {}, expected at most {} experts",
                         child.num_experts_per_tok, child.num_experts));
  }
  if (!plan.selection_bias) return child;
  child.selection_bias = true;
  if (child.num_experts_per_tok != parent.num_experts_per_tok) {
    complain(
        "expand_experts.num_experts_per_tok",
        fmt::format("found {} beside selection_bias, with which no copy "
                    "is chosen at first; expected the parent's, {}",
                    child.num_experts_per_tok, parent.num_experts_per_tok));
  }
  if (!parent.norm_topk_prob) {
    complain("expand_experts.selection_bias",
             "found it for a parent whose gates are raw probabilities "
             "(norm_topk_prob: false), which copies divide; expected "
             "num_experts_per_tok times factor, without selection_bias");
  }
  return child;
}

ModelConfig merged(const ModelConfig& parent, const MergeExpertsPlan& plan,
                   const Complain& complain) {
  if (parent.is_mixture()) {
    complain("merge_experts", fmt::format("found a parent with {} experts, "
                                          "expected a dense one",
                                          parent.num_experts));
  }
  if (plan.with.empty()) {
    complain("merge_experts.with", "found nothing, expected other models");
  }
  ModelConfig child = parent;
  child.num_experts = static_cast<int64_t>(plan.with.size()) + 1;
  child.num_experts_per_tok = plan.num_experts_per_tok;
  child.norm_topk_prob = true;
  if (child.num_experts_per_tok > child.num_experts) {
    complain("merge_experts.num_experts_per_tok",
             fmt::format("found {}, expected at most {}, one expert a model",
                         child.num_experts_per_tok, child.num_experts));
  }
  return child;
}

void check_perturbed(const ModelConfig& parent, const PerturbPlan& plan,
                     const Complain& complain) {
  if (plan.tensors.empty()) {
    complain("perturb.tensors", "found nothing, expected groups of matrices");
  }
  const bool router_alone = std::ranges::all_of(
      plan.tensors, [](MatrixGroup g) { return g == MatrixGroup::kRouter; });
  if (router_alone && !parent.is_mixture()) {
    complain("perturb.tensors",
             "found router alone, but the parent is dense; expected another "
             "group");
  }
}

void check_tied(const ModelConfig& parent, const Complain& complain) {
  if (parent.tie_word_embeddings) return;
  complain("untie",
           "found a parent whose head has a table of its own already, expected "
           "one with tie_word_embeddings");
}

void check_shrunk(const ShrinkPerturbPlan& plan, const Complain& complain) {
  if (plan.shrink != 1 || plan.relative_std != 0) return;
  complain("shrink_perturb",
           "found shrink 1 and relative_std 0, which change nothing; expected "
           "shrink below 1, or relative_std above 0");
}

// theta' with theta'^(-(d-2)/d) = theta^(-(d-2)/d) / factor: the slowest of d/2
// frequencies is stretched by `factor`, the fastest stays ("NTK-aware").
double stretched_theta(const ModelConfig& parent, double factor) {
  const auto d = static_cast<double>(parent.rotary_dim());
  return parent.rope_theta * std::pow(factor, d / (d - 2));
}

ModelConfig extended(const ModelConfig& parent, const ExtendPlan& plan,
                     const Complain& complain) {
  if (plan.max_position_embeddings <= parent.max_position_embeddings) {
    complain("extend.max_position_embeddings",
             fmt::format("found {}, expected more than the parent's {}",
                         plan.max_position_embeddings,
                         parent.max_position_embeddings));
  }
  if (parent.rope_scaling.type != RopeScaling::Type::kDefault) {
    complain("extend",
             "found a parent whose rotary frequencies are stretched already "
             "(rope_scaling); expected one without");
  }
  const bool by_theta = plan.method == ExtendMethod::kTheta;
  if (plan.rope_theta && !by_theta) {
    complain("extend.rope_theta",
             "found it beside another method, which keeps "
             "the base; expected method theta");
  }
  if (by_theta && !plan.rope_theta && parent.rotary_dim() <= 2) {
    complain("extend.rope_theta",
             "found nothing for a parent of one frequency, which no base "
             "stretches; expected method linear");
  }
  const double factor = static_cast<double>(plan.max_position_embeddings) /
                        static_cast<double>(parent.max_position_embeddings);
  ModelConfig child = parent;
  child.max_position_embeddings = plan.max_position_embeddings;
  if (by_theta) {
    child.rope_theta =
        plan.rope_theta.value_or(stretched_theta(parent, factor));
  } else if (plan.method == ExtendMethod::kLinear) {
    child.rope_scaling = {.type = RopeScaling::Type::kLinear, .factor = factor};
  } else {
    child.rope_scaling = {
        .type = RopeScaling::Type::kYarn,
        .factor = factor,
        .original_max_position_embeddings = parent.max_position_embeddings,
        .attention_factor = yarn_attention_factor(factor)};
  }
  return child;
}

}  // namespace

ModelConfig grown_shape(const ModelConfig& parent, const GrowthStep& step,
                        const Complain& complain) {
  if (step.upcycle) return upcycled(parent, *step.upcycle, complain);
  if (step.widen) return Widening(parent, *step.widen, complain).child();
  if (step.expand_experts) {
    return expanded(parent, *step.expand_experts, complain);
  }
  if (step.merge_experts) return merged(parent, *step.merge_experts, complain);
  if (step.extend) return extended(parent, *step.extend, complain);
  ANNULI_CHECK(count_operators(step) == 1, "not one operator in a step");
  if (step.perturb) check_perturbed(parent, *step.perturb, complain);
  if (step.shrink_perturb) check_shrunk(*step.shrink_perturb, complain);
  if (step.untie) check_tied(parent, complain);
  ModelConfig child = parent;
  if (step.untie) child.tie_word_embeddings = false;
  if (!step.deepen) return child;  // what changes values alone
  child.num_hidden_layers = static_cast<int64_t>(
      layer_map(*step.deepen, parent.num_hidden_layers, complain).size());
  return child;
}

void complain_of_growth(const std::string& key, const std::string& problem) {
  user_error("growing: {}: {}", key, problem);
}

int count_operators(const GrowthStep& step) {
  int count = 0;
  visit_operators([&](const Field&,
                      const auto& plan) { count += plan.has_value() ? 1 : 0; },
                  step);
  return count;
}

}  // namespace annuli
