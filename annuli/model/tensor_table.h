#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/config/model_config.h"

// The tensor table: every parameter of a model, once, with its name and what
// each of its dimensions ranges over. Growth operators read axes from here and
// never look at names; the model, the checkpoints and the verifier walk the
// same rows in the same order.
//
// Guarantees: rows are in forward order (embedding, layers, final norm, head),
// names are unique and are Hugging Face's for the family, shapes are positive.
// A tied head has no row of its own. Pure function of the config.
namespace annuli {

// What one dimension ranges over.
enum class Axis {
  kVocab,
  kResidual,
  kHead,
  kKvHead,
  kHeadDim,
  kFfn,        // of the feed-forward, of one expert
  kSharedFfn,  // of the shared expert
  kExpert,
  kUnit,  // a single output
};

// Produced: the dimension is an output of the matrix (or an elementwise gain).
// Contracted: it is summed over when the matrix is applied.
enum class AxisRole { kProduced, kContracted };

// A dimension of `count * block` entries: `count` steps along the axis, each
// `block` wide (a head is head_dim rows of a q projection; otherwise 1).
struct Dimension {
  Axis axis;
  AxisRole role;
  int64_t count;
  int64_t block = 1;

  int64_t size() const { return count * block; }
  bool operator==(const Dimension&) const = default;
};

// The part a tensor plays in the forward pass.
enum class Part {
  kEmbedding,
  kInputNorm,  // before attention
  kInputNormBias,
  kQ,
  kQBias,
  kK,
  kKBias,
  kV,
  kVBias,
  kQkv,  // q, k and v of each head in turn: [H * 3 * head_dim, D]
  kQkvBias,
  kQNorm,
  kKNorm,
  kO,
  kOBias,
  kAttentionOutNorm,  // after attention: NormPlacement::kPost
  kPostNorm,          // before the feed-forward
  kPostNormBias,
  kRouter,
  kSelectionBias,  // [E]: what experts are chosen by, beside probabilities
  kSharedGate,     // [1, D]: sigmoid(gate x) times the shared expert
  kGate,
  kGateBias,
  kUp,
  kUpBias,
  kDown,
  kDownBias,
  kFeedForwardOutNorm,  // after the feed-forward: NormPlacement::kPost
  kFinalNorm,
  kFinalNormBias,
  kHead,
};

// What holds for a part wherever it stands; growth and the model ask here, not
// for one part or another.
struct PartTraits {
  const char* name;
  enum class Kind { kTable, kMatrix, kGain, kBias, kSelection } kind;
  bool writes_residual = false;  // what it gives is added to the stream
  bool feeds_qk_norm = false;    // q, k and their biases
  bool takes_noise = false;      // a projection inside a block
  bool is_final_norm = false;    // what the head reads is scaled by it
  bool is_down = false;          // of a feed-forward, with its bias
};

const PartTraits& traits_of(Part part);

inline bool is_bias(Part part) {
  return traits_of(part).kind == PartTraits::Kind::kBias;
}

// False of selection biases alone: they have no gradient and no optimizer's
// state, and are no parameters; the load of experts moves them
// (train/selection_bias.h). Every process holds all of them.
inline bool is_trained(Part part) {
  return traits_of(part).kind != PartTraits::Kind::kSelection;
}

// TensorSpec::expert of the shared expert's gate, up and down.
inline constexpr int64_t kSharedExpert = -2;

struct TensorSpec {
  std::string name;
  Part part;
  std::vector<Dimension> dimensions;  // outermost first
  int64_t layer = -1;                 // -1 outside the layers
  int64_t expert = -1;  // -1 outside the experts, kSharedExpert in the shared

  std::vector<int64_t> shape() const;
  int64_t numel() const;
  // Entries that have a gradient.
  int64_t trained_entries() const { return is_trained(part) ? numel() : 0; }
  // The table of the model's tied head counts as one of these too.
  bool is_matrix() const { return dimensions.size() == 2; }
};

using TensorTable = std::vector<TensorSpec>;

TensorTable tensor_table(const ModelConfig& config);

// Row of the named part, or -1. `layer` and `expert` as in TensorSpec.
int64_t find_row(const TensorTable& table, Part part, int64_t layer = -1,
                 int64_t expert = -1);
int64_t find_row(const TensorTable& table, const std::string& name);

struct ParameterCount {
  int64_t total = 0;
  int64_t active = 0;  // per token: k of the E experts, all of the rest
};
ParameterCount count_parameters(const ModelConfig& config);

const char* to_string(Axis axis);
inline const char* to_string(Part part) { return traits_of(part).name; }

}  // namespace annuli
