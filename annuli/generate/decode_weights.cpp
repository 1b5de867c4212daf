#include "annuli/generate/decode_weights.h"

#include <map>
#include <tuple>

#include "annuli/core/error.h"

namespace annuli::decoding {
namespace {

// Looks tensors up by part, layer and expert.
class Finder {
 public:
  explicit Finder(const Transformer& model) : model_(model) {
    for (size_t row = 0; row < model.table().size(); ++row) {
      const TensorSpec& spec = model.table()[row];
      row_of_[{spec.part, spec.layer, spec.expert}] = row;
    }
  }

  bool has(Part part, int64_t layer = -1, int64_t expert = -1) const {
    return row_of_.contains({part, layer, expert});
  }

  at::Tensor tensor(Part part, int64_t layer = -1, int64_t expert = -1) const {
    const size_t row = row_of_.at({part, layer, expert});
    ANNULI_CHECK(model_.weight(row).defined(), "{} is not initialised",
                 model_.table()[row].name);
    return model_.weight(row).detach();
  }

  // A gain or a bias; undefined where the table has none.
  at::Tensor vector(Part part, int64_t layer, int64_t expert = -1) const {
    if (!has(part, layer, expert)) return {};
    return tensor(part, layer, expert).to(at::kFloat).contiguous();
  }

  Linear linear(Part part, int64_t layer = -1, int64_t expert = -1) const {
    const at::Tensor weight = tensor(part, layer, expert);
    return {.matrix = kernels::row_matrix(weight), .weight = weight};
  }

  Linear linear(Part part, Part bias, int64_t layer,
                int64_t expert = -1) const {
    Linear found = linear(part, layer, expert);
    found.bias = vector(bias, layer, expert);
    return found;
  }

  std::optional<Linear> optional(Part part, int64_t layer) const {
    if (!has(part, layer)) return std::nullopt;
    return linear(part, layer);
  }

  FeedForward feed_forward(int64_t layer, int64_t expert) const {
    FeedForward found{
        .up = linear(Part::kUp, Part::kUpBias, layer, expert),
        .down = linear(Part::kDown, Part::kDownBias, layer, expert)};
    if (has(Part::kGate, layer, expert)) {
      found.gate = linear(Part::kGate, Part::kGateBias, layer, expert);
    }
    return found;
  }

 private:
  const Transformer& model_;
  std::map<std::tuple<Part, int64_t, int64_t>, size_t> row_of_;
};

LayerWeights layer_weights(const Finder& find, const ModelConfig& config,
                           int64_t layer) {
  LayerWeights weights{
      .input_norm = find.vector(Part::kInputNorm, layer),
      .post_norm = find.vector(Part::kPostNorm, layer),
      .attention_out_norm = find.vector(Part::kAttentionOutNorm, layer),
      .feed_forward_out_norm = find.vector(Part::kFeedForwardOutNorm, layer),
      .q_norm = find.vector(Part::kQNorm, layer),
      .k_norm = find.vector(Part::kKNorm, layer),
      .q = find.linear(Part::kQ, Part::kQBias, layer),
      .k = find.linear(Part::kK, Part::kKBias, layer),
      .v = find.linear(Part::kV, Part::kVBias, layer),
      .o = find.linear(Part::kO, Part::kOBias, layer),
      .router = find.optional(Part::kRouter, layer),
      .shared_gate = find.optional(Part::kSharedGate, layer)};
  for (int64_t e = 0; e < config.num_experts; ++e) {
    weights.experts.push_back(find.feed_forward(layer, e));
  }
  if (!config.is_mixture()) {
    weights.experts.push_back(find.feed_forward(layer, -1));
  }
  if (config.has_shared_expert()) {
    weights.shared = find.feed_forward(layer, kSharedExpert);
  }
  return weights;
}

}  // namespace

bool readable(const Transformer& model) {
  if (model.dtype() != at::kFloat || !model.device().is_cpu()) return false;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const at::Tensor& weight = model.weight(row);
    if (!weight.defined()) return false;
    if (weight.dim() == 2 && !kernels::is_row_matrix(weight)) return false;
  }
  return true;
}

Weights weights_of(const Transformer& model) {
  ANNULI_CHECK(readable(model));
  const ModelConfig& config = model.config();
  const Finder find(model);
  Weights weights{
      .embedding = find.tensor(Part::kEmbedding),
      .final_norm = find.vector(Part::kFinalNorm, -1),
      .head = find.linear(config.tie_word_embeddings ? Part::kEmbedding
                                                     : Part::kHead)};
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    weights.layers.push_back(layer_weights(find, config, layer));
  }
  return weights;
}

}  // namespace annuli::decoding
