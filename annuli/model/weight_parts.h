#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "annuli/model/lent_weights.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/row_stages.h"
#include "annuli/parallel/begun.h"
#include "annuli/parallel/process_group.h"

// Weights that several processes hold in parts (`parallel.shard: full`).
//
// Each process has the weights that it owns (row_owners.h) and, as all of them,
// those outside the layers, and the selection biases. The tensors of the others
// are there, without memory (kernels/memory/lent_memory.h). A block's pass
// fetches the weights of its layer before it runs and drops them after; where
// gradients are recorded again for its backward pass. A pass through all layers
// asks for the next layer's while one computes: so those of two layers are here
// at most. The last layer's stay from its forward to its backward pass. Who
// wants a single weight reads it.
//
// All functions that send are collective: all processes run the same passes and
// read the same weights, in one order.
//
// State: who owns what, and which layer's weights are here ahead of their use.
// A model and its copies, whose tensors they share, share one of these.
namespace annuli {

class Transformer;

class WeightParts : public LentWeights {
 public:
  // The group is borrowed.
  WeightParts(const TensorTable& table, parallel::ProcessGroup& group);

  const RowOwners& owners() const { return owners_; }
  parallel::ProcessGroup& group() const { return group_; }
  bool is_own(size_t row) const { return owners_.owns(group_.rank(), row); }
  // Whether its weight has memory between two passes.
  bool stays(size_t row) const {
    return is_own(row) || is_outside(row) || is_with_all(row);
  }
  // A selection bias: each process moves its own, alike.
  bool is_with_all(size_t row) const { return with_all_[row]; }

  // `next`, if it is a layer, is asked for after it, and waited for when it is
  // fetched itself.
  void fetch(const Transformer& model, int64_t layer,
             int64_t next) const override;
  void drop(const Transformer& model, int64_t layer) const override;
  void keep(int64_t layer) const override;
  void begin_pass(const Transformer& model) const override;

  // A row's weight on all processes: its own tensor where it is here, and else
  // a copy that lives as long as the caller holds it.
  at::Tensor read(const Transformer& model, size_t row) const;
  // The same on one process; undefined on the others.
  at::Tensor read_at(int64_t process, const Transformer& model,
                     size_t row) const;

  // What `text` says of each row on the process that owns it.
  std::vector<std::string> of_owners(
      const std::function<std::string(size_t row)>& text) const;

  // Gives all processes what the owners have of the rows outside the layers:
  // after an update, or when a model was made in parts.
  void give_outside(const Transformer& model) const;

  // All weights are here, until `scatter`.
  void gather(const Transformer& model) const;
  void scatter(const Transformer& model) const;

 private:
  // Weights that are here, or come, before they are fetched.
  struct Ahead {
    int64_t layer = -1;  // none
    parallel::Begun begun;
  };

  Ahead ask_for(const Transformer& model, int64_t layer) const;
  bool is_outside(size_t row) const;
  void drop_stage(const Transformer& model, size_t stage) const;

  RowOwners owners_;
  RowStages stages_;
  std::vector<bool> with_all_;  // by row
  parallel::ProcessGroup& group_;
  mutable Ahead ahead_;
};

// From now on the processes hold the model in parts, of which all have the same
// weights.
void hold_in_parts(Transformer& model, parallel::ProcessGroup& group);

}  // namespace annuli
