#include "annuli/model/tensor_table.h"

#include <fmt/core.h>

#include <functional>
#include <numeric>

#include "annuli/config/family.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

using enum Axis;
using enum AxisRole;

// Appends rows in forward order; holds the sizes that several rows share.
class TableBuilder {
 public:
  explicit TableBuilder(const ModelConfig& config)
      : config_(config), names_(family_of(config).names) {}

  TensorTable build() {
    add(weight_of(names_.embedding), Part::kEmbedding,
        {{kVocab, kContracted, config_.vocab_size}, residual(kProduced)});
    for (layer_ = 0; layer_ < config_.num_hidden_layers; ++layer_) add_layer();
    layer_ = -1;
    add(weight_of(names_.final_norm), Part::kFinalNorm, {residual(kProduced)});
    if (!config_.tie_word_embeddings) {
      add(weight_of(names_.head), Part::kHead,
          {{kVocab, kProduced, config_.vocab_size}, residual(kContracted)});
    }
    return std::move(table_);
  }

 private:
  Dimension residual(AxisRole role) const {
    return {kResidual, role, config_.hidden_size};
  }
  Dimension ffn(AxisRole role, int64_t expert) const {
    return expert == kSharedExpert
               ? Dimension{kSharedFfn, role,
                           config_.shared_expert_intermediate_size}
               : Dimension{kFfn, role, config_.intermediate_size};
  }
  Dimension heads(AxisRole role) const {
    return {kHead, role, config_.num_attention_heads, config_.head_dim};
  }
  Dimension kv_heads(AxisRole role) const {
    return {kKvHead, role, config_.num_key_value_heads, config_.head_dim};
  }

  void add(std::string name, Part part, std::vector<Dimension> dimensions,
           int64_t expert = -1) {
    table_.push_back(
        {std::move(name), part, std::move(dimensions), layer_, expert});
  }

  // A projection [produced, contracted] and its bias [produced].
  struct Projection {
    std::string name;
    Part weight;
    Part bias;
    bool has_bias;
    Dimension produced;
    Dimension contracted;
    int64_t expert = -1;
  };

  static std::string weight_of(std::string_view name) {
    return fmt::format("{}.weight", name);
  }

  std::string in_layer(std::string_view suffix,
                       const char* kind = "weight") const {
    return fmt::format("{}.{}.{}.{}", names_.layers, layer_, suffix, kind);
  }

  void add_norm(std::string_view name, Part part) {
    add(in_layer(name), part, {residual(kProduced)});
  }

  void add_projection(const Projection& p) {
    add(in_layer(p.name), p.weight, {p.produced, p.contracted}, p.expert);
    if (p.has_bias)
      add(in_layer(p.name, "bias"), p.bias, {p.produced}, p.expert);
  }

  void add_layer() {
    const bool pre = config_.norm_placement == NormPlacement::kPre;
    if (pre) add_norm(names_.input_norm, Part::kInputNorm);
    add_attention();
    if (pre) {
      add_norm(names_.post_norm, Part::kPostNorm);
    } else {
      add_norm(names_.attention_out_norm, Part::kAttentionOutNorm);
    }
    if (config_.is_mixture()) {
      add_mixture();
    } else {
      add_feed_forward(std::string(names_.mlp), -1);
    }
    if (!pre) {
      add_norm(names_.feed_forward_out_norm, Part::kFeedForwardOutNorm);
    }
  }

  void add_attention() {
    const bool bias = config_.qkv_bias;
    add_projection({std::string(names_.q), Part::kQ, Part::kQBias, bias,
                    heads(kProduced), residual(kContracted)});
    add_projection({std::string(names_.k), Part::kK, Part::kKBias, bias,
                    kv_heads(kProduced), residual(kContracted)});
    add_projection({std::string(names_.v), Part::kV, Part::kVBias, bias,
                    kv_heads(kProduced), residual(kContracted)});
    if (config_.qk_norm == QkNorm::kHead) {
      const Dimension within_head{kHeadDim, kProduced, config_.head_dim};
      add(in_layer(names_.q_norm), Part::kQNorm, {within_head});
      add(in_layer(names_.k_norm), Part::kKNorm, {within_head});
    } else if (config_.qk_norm == QkNorm::kFull) {
      add(in_layer(names_.q_norm), Part::kQNorm, {heads(kProduced)});
      add(in_layer(names_.k_norm), Part::kKNorm, {kv_heads(kProduced)});
    }
    add_projection({std::string(names_.o), Part::kO, Part::kOBias,
                    config_.o_bias, residual(kProduced), heads(kContracted)});
  }

  std::string in_mixture(std::string_view name) const {
    return fmt::format("{}.{}", names_.mixture, name);
  }

  void add_mixture() {
    add(in_layer(in_mixture(names_.router)), Part::kRouter,
        {{kExpert, kProduced, config_.num_experts}, residual(kContracted)});
    for (int64_t e = 0; e < config_.num_experts; ++e) {
      add_feed_forward(in_mixture(fmt::format("experts.{}", e)), e);
    }
    if (config_.has_shared_expert()) {
      add_feed_forward(in_mixture(names_.shared_expert), kSharedExpert);
      add(in_layer(in_mixture(names_.shared_gate)), Part::kSharedGate,
          {{kUnit, kProduced, 1}, residual(kContracted)});
    }
  }

  void add_feed_forward(const std::string& prefix, int64_t expert) {
    const bool bias = config_.mlp_bias;
    const Dimension inner = ffn(kProduced, expert);
    if (config_.gated) {
      add_projection({fmt::format("{}.{}", prefix, names_.gate), Part::kGate,
                      Part::kGateBias, bias, inner, residual(kContracted),
                      expert});
    }
    add_projection({fmt::format("{}.{}", prefix, names_.up), Part::kUp,
                    Part::kUpBias, bias, inner, residual(kContracted), expert});
    add_projection({fmt::format("{}.{}", prefix, names_.down), Part::kDown,
                    Part::kDownBias, bias, residual(kProduced),
                    ffn(kContracted, expert), expert});
  }

  const ModelConfig& config_;
  const TensorNames& names_;
  TensorTable table_;
  int64_t layer_ = -1;
};

}  // namespace

bool feeds_qk_norm(Part part) {
  return part == Part::kQ || part == Part::kQBias || part == Part::kK ||
         part == Part::kKBias;
}

bool is_bias(Part part) {
  switch (part) {
    case Part::kQBias:
    case Part::kKBias:
    case Part::kVBias:
    case Part::kOBias:
    case Part::kGateBias:
    case Part::kUpBias:
    case Part::kDownBias:
      return true;
    default:
      return false;
  }
}

std::vector<int64_t> TensorSpec::shape() const {
  std::vector<int64_t> sizes;
  for (const Dimension& dimension : dimensions) {
    sizes.push_back(dimension.size());
  }
  return sizes;
}

int64_t TensorSpec::numel() const {
  const auto sizes = shape();
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1},
                         std::multiplies<>());
}

TensorTable tensor_table(const ModelConfig& config) {
  return TableBuilder(config).build();
}

int64_t find_row(const TensorTable& table, Part part, int64_t layer,
                 int64_t expert) {
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorSpec& spec = table[row];
    if (spec.part == part && spec.layer == layer && spec.expert == expert) {
      return static_cast<int64_t>(row);
    }
  }
  return -1;
}

int64_t find_row(const TensorTable& table, const std::string& name) {
  for (size_t row = 0; row < table.size(); ++row) {
    if (table[row].name == name) return static_cast<int64_t>(row);
  }
  return -1;
}

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  for (const TensorSpec& spec : tensor_table(config)) {
    count.total += spec.numel();
    // Experts are alike: the first k stand for whichever k a token chooses.
    if (spec.expert < config.num_experts_per_tok) count.active += spec.numel();
  }
  if (!config.is_mixture()) count.active = count.total;
  return count;
}

const char* to_string(Axis axis) {
  switch (axis) {
    case kVocab:
      return "vocab";
    case kResidual:
      return "residual";
    case kHead:
      return "head";
    case kKvHead:
      return "kv_head";
    case kHeadDim:
      return "head_dim";
    case kFfn:
      return "ffn";
    case kSharedFfn:
      return "shared_ffn";
    case kExpert:
      return "expert";
    case kUnit:
      return "unit";
  }
  return "?";
}

const char* to_string(Part part) {
  switch (part) {
    case Part::kEmbedding:
      return "embedding";
    case Part::kInputNorm:
      return "input_norm";
    case Part::kQ:
      return "q";
    case Part::kQBias:
      return "q_bias";
    case Part::kK:
      return "k";
    case Part::kKBias:
      return "k_bias";
    case Part::kV:
      return "v";
    case Part::kVBias:
      return "v_bias";
    case Part::kQNorm:
      return "q_norm";
    case Part::kKNorm:
      return "k_norm";
    case Part::kO:
      return "o";
    case Part::kOBias:
      return "o_bias";
    case Part::kAttentionOutNorm:
      return "attention_out_norm";
    case Part::kPostNorm:
      return "post_norm";
    case Part::kRouter:
      return "router";
    case Part::kSharedGate:
      return "shared_gate";
    case Part::kGate:
      return "gate";
    case Part::kGateBias:
      return "gate_bias";
    case Part::kUp:
      return "up";
    case Part::kUpBias:
      return "up_bias";
    case Part::kDown:
      return "down";
    case Part::kDownBias:
      return "down_bias";
    case Part::kFeedForwardOutNorm:
      return "feed_forward_out_norm";
    case Part::kFinalNorm:
      return "final_norm";
    case Part::kHead:
      return "head";
  }
  return "?";
}

}  // namespace annuli
