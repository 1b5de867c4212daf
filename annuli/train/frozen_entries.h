#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"

// What a phase does not train (`train.freeze`).
//
// A row of the model's table is frozen whole, in part, or not. Whole rows have
// no gradient, no update, no weight decay and no optimizer's state. Of a row
// that growth has made larger, `parent` freezes the entries in which each of
// the parent's stands first; the row is updated, and they are put back, so that
// the others see its whole gradient and state. Of tensors that are copies of
// one, the first in the table is the parent's (LLaMA-Pro, 2401.02415; SCALE,
// 2511.03270).
//
// The default freezes nothing.
namespace annuli::train {

class FrozenEntries {
 public:
  FrozenEntries() = default;
  // `growth` began the phase: with `parent` there must be one. Throws UserError
  // if nothing would be left to train.
  FrozenEntries(const FreezePlan& plan, const TensorTable& table,
                const grow::Recipe* growth);
  // What `parent` names, were it all.
  static FrozenEntries of_parent(const TensorTable& table,
                                 const grow::Recipe& growth);

  // By row; empty if nothing is frozen.
  const std::vector<bool>& whole_rows() const { return whole_; }
  bool is_whole(size_t row) const { return !whole_.empty() && whole_[row]; }
  bool has_part(size_t row) const {
    return !parts_.empty() && !parts_[row].empty();
  }

  // A copy of the row's frozen entries, where it has some among others.
  std::vector<at::Tensor> copy_of(size_t row, const at::Tensor& weight) const;
  void put_back(size_t row, const std::vector<at::Tensor>& copy,
                at::Tensor& weight) const;

  // SHA-256 of all frozen entries; "" if there are none. Where processes hold
  // the model in parts all of them call it.
  std::string hash(const Transformer& model) const;

 private:
  // Entries begin .. begin + length of a dimension.
  using Run = std::pair<int64_t, int64_t>;
  // The frozen block of a row: its runs in each dimension.
  using Block = std::vector<std::vector<Run>>;

  static std::vector<Run> first_places(const grow::DimensionRecipe& dimension);
  void add_parent(const TensorTable& table, const grow::Recipe& growth);
  // Views of what `block` names.
  static std::vector<at::Tensor> views(const Block& block,
                                       const at::Tensor& weight);

  std::vector<bool> whole_;
  std::vector<Block> parts_;  // empty where the row has none
};

}  // namespace annuli::train
