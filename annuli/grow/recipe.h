#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/core/json.h"
#include "annuli/grow/transforms/transform.h"
#include "annuli/model/tensor_table.h"

// The recipe: for every tensor of the child, which parent slices, how tiled,
// which scale, and a list of transforms (noise, units drawn anew ...). The same
// recipe is carried out on weights in memory, on a stream of tensors from disk,
// and on the optimizer's state.
//
// Guarantees: one TensorRecipe per row of the child's table, in its order;
// pure data, no tensors, serialised whole into the lineage.
namespace annuli::grow {

// Entries [start, start + length) of a parent dimension; `start` kNew: entries
// that no parent has, zero unless the line has a Fill.
struct Slice {
  int64_t start;
  int64_t length;

  bool is_new() const;
  bool operator==(const Slice&) const = default;
};
inline constexpr int64_t kNew = -1;
inline bool Slice::is_new() const { return start == kNew; }

// A child dimension is the concatenation of parent slices. `copies` is how many
// times each parent entry appears (a for produced, b for contracted).
struct DimensionRecipe {
  std::vector<Slice> slices;
  int64_t copies = 1;
};

enum class Source {
  kParent,        // slices of a parent tensor, scaled
  kZero,          // zeros (a new layer's output projection); nothing is done
                  // to them
  kRandomRouter,  // drawn by the line's RandomRouter
  kFresh,         // made by the line's Fresh: a tensor of a random layer; or by
                  // its ClosedCopies, out of zeros
};

struct TensorRecipe {
  std::string child;
  std::string parent;  // empty unless source is kParent
  Source source = Source::kParent;
  std::vector<int64_t> shape;               // the child's
  std::vector<DimensionRecipe> dimensions;  // empty unless kParent
  // Which of several parents (kParent): their mean. {0} with a single parent.
  std::vector<int64_t> models = {0};
  double scale = 1;  // of the value, mostly 1 / b
  // What else is done to the rows, in this order, at most one of a kind.
  std::vector<TransformPtr> transforms;
  uint64_t stream = 0;  // of what transforms draw, where they have none
  // The child's tensor is held as codes (coded_growth.h).
  bool coded = false;
  // The child's layer; of a random router the parent's, whose mean its rows
  // are made orthogonal to; -1 if that model is never made.
  int64_t layer = -1;

  // How the optimizer's state follows. The gradient of every copy is the
  // parent's times gradient_scale = 1 / (a b scale), a = `produced_copies`, b =
  // `contracted_copies`: m scales with it, v with its square, or both start at
  // zero where carrying is not defined.
  bool carry_state = true;
  int64_t produced_copies = 1;
  int64_t contracted_copies = 1;
  double gradient_scale = 1;

  // `dynamics: exact`: with these the child's updates are the parent's, copied
  // and scaled. They multiply those of the parent tensor `settings_from`
  // (empty: a tensor without a counterpart, starts from 1).
  double lr_multiplier = 1;            // scale
  double eps_multiplier = 1;           // gradient_scale
  double weight_decay_multiplier = 1;  // 1 / scale
  // Copies of the parent's matrix below and beside each other, which Muon's
  // step is told of too.
  int64_t row_copies = 1;
  int64_t column_copies = 1;
  std::string settings_from;

  // Not empty: how the child is made, one step after the other, each rounded to
  // what is stored as if it had been a file. The first step's parent is
  // `parent`; the fields above then say what all steps come to together.
  std::vector<TensorRecipe> steps;

  // The child tensor is the parent tensor, entry by entry. (One slice from 0
  // on with copies 1 is the parent's whole dimension.)
  bool is_identity() const;
  bool has_new_entries() const;

  // The transform of that kind, or null.
  template <typename T>
  const T* find() const;
  // Puts it at its place in the order of kinds, instead of one of its kind.
  void set(TransformPtr transform);
  template <typename T>
  void remove();
};

template <typename T>
const T* TensorRecipe::find() const {
  for (const TransformPtr& transform : transforms) {
    if (const auto* found = dynamic_cast<const T*>(transform.get())) {
      return found;
    }
  }
  return nullptr;
}

template <typename T>
void TensorRecipe::remove() {
  std::erase_if(transforms, [](const TransformPtr& transform) {
    return dynamic_cast<const T*>(transform.get()) != nullptr;
  });
}

// Where an expert comes from.
struct ExpertRule {
  int64_t parent = -1;     // the parent's expert; -1: the dense feed-forward
  int64_t model = 0;       // of several parents
  std::vector<Slice> ffn;  // its units; empty: all of them
  bool operator==(const ExpertRule&) const = default;
};

struct Recipe {
  std::string op;  // the registry's name, or "chain"
  Json arguments;
  uint64_t seed = 0;
  ModelConfig parent;
  ModelConfig child;
  bool exact = true;
  // Nats that the probe's loss may rise by if it is not exact, unless the user
  // says otherwise. ("logit_budget" in JSON.)
  double loss_budget = 0;
  std::vector<TensorRecipe> tensors;  // rows of the child's table
  std::vector<int64_t> layer_map;     // child layer -> parent layer
  std::vector<bool> layer_is_mapped;  // false: new layer, checks skip it
  // The child's axes as slices of the parent's, in steps of the axis (a slice
  // of kHead counts heads). An absent axis is unchanged.
  std::map<Axis, std::vector<Slice>> axes;
  // One entry per expert of the child; empty: the parent's own, or none. An
  // expert's own units count, not those of axes[kFfn].
  std::vector<ExpertRule> experts;
  int64_t models = 1;  // how many parents
  int64_t expert_shards =
      1;  // that each copy of a dense feed-forward was cut in
  int64_t width_factor = 1;  // copies of each residual coordinate

  // Some tensor carries cancelling noise.
  bool has_noise() const;
  // Some router must be given the mean activations of the parent's layers, or
  // centroids of them.
  bool needs_router_mean() const;
  // How many centroids of a layer routers are made of; 0: none is.
  int64_t router_centroids() const;
  // The axis' slices, whole where it is unchanged; `size` is the parent's.
  std::vector<Slice> axis(Axis axis, int64_t size) const;
};

// The scale of some tensor is no power of two, and `dtype` is too short to hold
// its products to the accuracy that exact growth is held to: 1/3 of a bf16 is
// off by 2e-3. Such a child is to be written in fp32. (Noise never needs that:
// its pairs cancel in any dtype.)
bool storage_breaks_exactness(const Recipe& recipe, at::ScalarType dtype);
bool storage_breaks_exactness(const TensorRecipe& tensor, at::ScalarType dtype);

// Multiplying by it rounds nothing but subnormals.
bool is_power_of_two(double value);

// The same growth with no noise in any of its steps: the control.
Recipe without_noise(Recipe recipe);

// Which of a dimension's slices form pairs of +e and -e: each slice with the
// next equal one, indices in ascending order. New slices never pair.
std::vector<std::pair<size_t, size_t>> noise_pairs(
    const std::vector<Slice>& slices);

Json to_json(const Recipe& recipe);
// The inverse; throws UserError naming what is missing or of the wrong type.
Recipe recipe_from_json(const Json& json);

const char* to_string(Source source);

}  // namespace annuli::grow
