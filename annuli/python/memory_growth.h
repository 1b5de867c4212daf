#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/held_tensors.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/config/phase_plan.h"
#include "annuli/core/json.h"
#include "annuli/grow/recipe.h"
#include "annuli/grow/stream.h"
#include "annuli/verify/parent_record.h"

// The growth of a model that another program holds in memory: parents, child
// and the optimizer's state are tensors of its own, which it names and whose
// memory it owns. The recipe, its seeds, the stored types and the proof are
// those of `annuli grow`: the child has the bytes that the files would have.
//
// Called in this order, with what one answers the next one is made of:
//
//   constructor   parents, operator        UserError: nothing has happened yet
//   plan          what the child will be
//   lay_out       how the child's class calls its tensors, and their shapes
//   place         where they are
//   look          measures the parents
//   make          one row after the other; parents are let go of
//   prove         verdicts
//
// Tensors in words are {name, dtype, shape, strides, data}, a number that is an
// address on the host. They must stay until the growth is gone, those of
// parents until `make` lets go of them. dtype is one of safetensors' words.
namespace annuli::python {

class MemoryGrowth {
 public:
  // order: parents [{config, tensors}], state {part: tensors} of the first
  // parent's optimizer, operator, arguments, seed, dtype ("" or a flag's word),
  // optimizer, dynamics, allow, consume, prove.
  explicit MemoryGrowth(const Json& order);

  // config (the child's), rows (name, dtype, parent, settings_from, carries,
  // multipliers, copies), note, exact, arguments.
  Json plan() const;

  // tensors: name and shape of each that the child's class has. UserError if
  // these are not the child. Gives back the type of each, and by row the tensor
  // that it is in.
  Json lay_out(const Json& tensors);

  // order: tensors; state {part: tensors}, of those that are carried.
  void place(const Json& order);

  // order: probe, a tensor of [W, T + 1] ids, or null for random ones; consume:
  // whether the parents will be gone when the child is proved. What its proof
  // needs of them is kept then, of as few tokens as decide.
  void look(const Json& order);

  // Row `row`, its weights and its state. Gives back the tensors of parents
  // that nothing needs any more, [[parent, name], ...]; they are not read
  // again.
  Json make(size_t row);

  // order: loss_budget or null, allow. {verdicts, probe, failed: the line of
  // the first verdict that stops, or null}.
  Json prove(const Json& order);

  // The record of this growth, as in a lineage.
  Json record(const Json& verdicts) const;

 private:
  using States = std::map<std::string, std::map<std::string, at::Tensor>>;

  struct Parent {
    std::unique_ptr<ModelFile> file;
    HeldTensors* held;  // the file's
  };

  static Parent open_parent(const Json& words);
  static States read_states(const Json& words);
  std::vector<const ModelFile*> parents() const;
  const ModelFile& first() const { return *parents_.at(0).file; }
  void require_class() const;
  void check_gates(const std::vector<std::string>& allow) const;
  Json child_config() const;
  grow::StreamOrder weights() const;
  void plan_types();
  void find_last_uses();
  verify::Probe probe_of(const Json& words) const;
  void write_state(const grow::TensorRecipe& line);

  std::vector<Parent> parents_;
  States parent_state_;
  GrowPlan growth_;
  grow::Recipe recipe_;
  std::optional<at::ScalarType> dtype_;  // asked for
  std::vector<at::ScalarType> dtypes_;   // of the child's rows
  std::string note_;
  std::string torch_dtype_;
  bool prove_;
  bool consume_ = false;
  // Row -> what nothing needs after it.
  std::map<size_t, std::vector<std::pair<size_t, std::string>>> last_uses_;

  std::unique_ptr<ModelFile> child_;
  States child_state_;

  verify::Probe probe_;
  std::vector<at::Tensor> router_mean_;
  std::vector<std::string> hashes_;
  std::optional<verify::ParentRecord> record_;
};

}  // namespace annuli::python
