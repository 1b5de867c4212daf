#include "annuli/model/tensor_table.h"

#include <fmt/core.h>

#include <functional>
#include <iterator>
#include <numeric>

#include "annuli/config/family.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

using enum Axis;
using enum AxisRole;

struct PartRow {
  Part part;
  PartTraits traits;
};

// In the order of the enumeration.
constexpr PartRow kTraits[] = {
    {Part::kEmbedding, {"embedding", PartTraits::Kind::kTable}},
    {Part::kInputNorm, {"input_norm", PartTraits::Kind::kGain}},
    {Part::kInputNormBias, {"input_norm_bias", PartTraits::Kind::kBias}},
    {Part::kQ,
     {.name = "q",
      .kind = PartTraits::Kind::kMatrix,
      .feeds_qk_norm = true,
      .takes_noise = true}},
    {Part::kQBias,
     {.name = "q_bias",
      .kind = PartTraits::Kind::kBias,
      .feeds_qk_norm = true}},
    {Part::kK,
     {.name = "k",
      .kind = PartTraits::Kind::kMatrix,
      .feeds_qk_norm = true,
      .takes_noise = true}},
    {Part::kKBias,
     {.name = "k_bias",
      .kind = PartTraits::Kind::kBias,
      .feeds_qk_norm = true}},
    {Part::kV,
     {.name = "v", .kind = PartTraits::Kind::kMatrix, .takes_noise = true}},
    {Part::kVBias, {"v_bias", PartTraits::Kind::kBias}},
    {Part::kQkv,
     {.name = "qkv", .kind = PartTraits::Kind::kMatrix, .takes_noise = true}},
    {Part::kQkvBias, {"qkv_bias", PartTraits::Kind::kBias}},
    {Part::kQNorm, {"q_norm", PartTraits::Kind::kGain}},
    {Part::kKNorm, {"k_norm", PartTraits::Kind::kGain}},
    {Part::kO,
     {.name = "o",
      .kind = PartTraits::Kind::kMatrix,
      .writes_residual = true,
      .takes_noise = true}},
    {Part::kOBias,
     {.name = "o_bias",
      .kind = PartTraits::Kind::kBias,
      .writes_residual = true}},
    {Part::kAttentionOutNorm, {"attention_out_norm", PartTraits::Kind::kGain}},
    {Part::kPostNorm, {"post_norm", PartTraits::Kind::kGain}},
    {Part::kPostNormBias, {"post_norm_bias", PartTraits::Kind::kBias}},
    {Part::kRouter, {"router", PartTraits::Kind::kMatrix}},
    {Part::kSelectionBias, {"selection_bias", PartTraits::Kind::kSelection}},
    {Part::kSharedGate, {"shared_gate", PartTraits::Kind::kMatrix}},
    {Part::kGate,
     {.name = "gate", .kind = PartTraits::Kind::kMatrix, .takes_noise = true}},
    {Part::kGateBias, {"gate_bias", PartTraits::Kind::kBias}},
    {Part::kUp,
     {.name = "up", .kind = PartTraits::Kind::kMatrix, .takes_noise = true}},
    {Part::kUpBias, {"up_bias", PartTraits::Kind::kBias}},
    {Part::kDown,
     {.name = "down",
      .kind = PartTraits::Kind::kMatrix,
      .writes_residual = true,
      .takes_noise = true,
      .is_down = true}},
    {Part::kDownBias,
     {.name = "down_bias",
      .kind = PartTraits::Kind::kBias,
      .writes_residual = true,
      .is_down = true}},
    {Part::kFeedForwardOutNorm,
     {"feed_forward_out_norm", PartTraits::Kind::kGain}},
    {Part::kFinalNorm,
     {.name = "final_norm",
      .kind = PartTraits::Kind::kGain,
      .is_final_norm = true}},
    {Part::kFinalNormBias,
     {.name = "final_norm_bias",
      .kind = PartTraits::Kind::kBias,
      .is_final_norm = true}},
    {Part::kHead, {"head", PartTraits::Kind::kTable}},
};

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
    if (has_norm_biases()) {
      add(fmt::format("{}.bias", names_.final_norm), Part::kFinalNormBias,
          {residual(kProduced)});
    }
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

  bool has_norm_biases() const { return config_.norm_type == NormType::kLayer; }

  void add_norm(std::string_view name, Part gain) {
    add(in_layer(name), gain, {residual(kProduced)});
  }

  // One in front of attention or feed-forward, which may have a bias.
  void add_norm(std::string_view name, Part gain, Part bias) {
    add_norm(name, gain);
    if (has_norm_biases()) {
      add(in_layer(name, "bias"), bias, {residual(kProduced)});
    }
  }

  void add_projection(const Projection& p) {
    add(in_layer(p.name), p.weight, {p.produced, p.contracted}, p.expert);
    if (p.has_bias)
      add(in_layer(p.name, "bias"), p.bias, {p.produced}, p.expert);
  }

  void add_layer() {
    const bool pre = config_.norm_placement == NormPlacement::kPre;
    if (pre)
      add_norm(names_.input_norm, Part::kInputNorm, Part::kInputNormBias);
    add_attention();
    if (pre) {
      add_norm(names_.post_norm, Part::kPostNorm, Part::kPostNormBias);
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

  void add_queries_keys_and_values() {
    const bool bias = config_.qkv_bias;
    if (config_.fused_qkv) {
      const Dimension of_heads{kHead, kProduced, config_.num_attention_heads,
                               3 * config_.head_dim};
      return add_projection({std::string(names_.qkv), Part::kQkv,
                             Part::kQkvBias, bias, of_heads,
                             residual(kContracted)});
    }
    add_projection({std::string(names_.q), Part::kQ, Part::kQBias, bias,
                    heads(kProduced), residual(kContracted)});
    add_projection({std::string(names_.k), Part::kK, Part::kKBias, bias,
                    kv_heads(kProduced), residual(kContracted)});
    add_projection({std::string(names_.v), Part::kV, Part::kVBias, bias,
                    kv_heads(kProduced), residual(kContracted)});
  }

  void add_attention() {
    add_queries_keys_and_values();
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
    if (config_.selection_bias) {
      add(fmt::format("{}.{}.{}", names_.layers, layer_,
                      in_mixture(names_.selection_bias)),
          Part::kSelectionBias, {{kExpert, kProduced, config_.num_experts}});
    }
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

const PartTraits& traits_of(Part part) {
  const auto index = static_cast<size_t>(part);
  ANNULI_CHECK(index < std::size(kTraits) && kTraits[index].part == part,
               "part {} has no line of traits in its place", index);
  return kTraits[index].traits;
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
    const int64_t entries = spec.trained_entries();
    count.total += entries;
    // Experts are alike: the first k stand for whichever k a token chooses.
    if (spec.expert < config.num_experts_per_tok) count.active += entries;
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

}  // namespace annuli
