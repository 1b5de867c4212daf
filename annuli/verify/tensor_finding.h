#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"
#include "annuli/verify/demands.h"
#include "annuli/verify/sketch.h"
#include "annuli/verify/unit_sums.h"

// What each tensor of a child shows, measured against its line of the recipe;
// tensor_audit.cpp judges it.
namespace annuli::verify {

struct Finding {
  bool whole = false;           // there, and finite
  double roundoff = 0;          // of a copied one's entries
  SketchDistance distance;      // of a copied one
  bool is_judged = false;       // by `distance`: not where others end the sum
  std::optional<double> fault;  // of what is new, in units of its limit

  // As processes tell each other.
  std::vector<double> numbers() const;
  static Finding of(const std::vector<double>& list);
};

// State: the sums of the dense layer whose shards it is in the middle of; so
// rows are measured in their order.
class TensorMeasure {
 public:
  // All are borrowed.
  TensorMeasure(const std::vector<std::vector<Sketch>>& parents,
                const grow::Recipe& recipe, const Transformer& child,
                const std::vector<at::Tensor>& router_mean);

  // Of each row. The processes divide the rows, unless shards are summed.
  std::vector<Finding> of_all(parallel::ProcessGroup& group);

  const TensorTable& parent_table() const { return parent_table_; }
  bool has_parent(const std::string& name) const {
    return parent_row_.contains(name);
  }
  // Null where the recipe does not name the row.
  const grow::TensorRecipe* recipe_of(size_t row) const;

 private:
  // What a tensor is made of, and by how much that is multiplied.
  struct Origin {
    Sketch sketch;
    const TensorSpec& spec;
    double factor;
    const grow::AddedNoise* noise = nullptr;  // on copies
    double deviation = 0;
  };

  Finding of_row(size_t row, const at::Tensor& weight);
  void measure_copied(size_t row, const grow::TensorRecipe& tensor,
                      const at::Tensor& weight, Finding& finding);
  void measure_fresh(size_t row, const grow::TensorRecipe& tensor,
                     const at::Tensor& weight, Finding& finding);
  void measure_selection(size_t row, const grow::TensorRecipe& tensor,
                         const at::Tensor& weight, Finding& finding);
  void measure_against(const Origin& origin, size_t row,
                       const grow::TensorRecipe& tensor,
                       const at::Tensor& weight, Finding& finding);
  double fault_of_made(size_t row, const grow::TensorRecipe& tensor,
                       const at::Tensor& weight) const;
  Sketch sketch_for(const grow::TensorRecipe& tensor, size_t from) const;
  Sketch mean_sketch(const grow::TensorRecipe& tensor, size_t from) const;
  at::ScalarType stored_type(const grow::TensorRecipe& tensor,
                             size_t parent) const;
  TensorSpec spec_of_drawn(size_t row, const grow::TensorRecipe& drawn) const;
  double digits(size_t row, const grow::TensorRecipe& tensor) const;
  const TensorTable& table() const { return child_.table(); }

  const std::vector<std::vector<Sketch>>& parents_;
  const grow::Recipe& recipe_;
  const Transformer& child_;
  const std::vector<at::Tensor>& router_mean_;
  Demands demands_;
  TensorTable parent_table_;
  std::unordered_map<std::string, size_t> parent_row_;
  UnitSums shards_;  // of the dense layer that it is in the middle of
};

}  // namespace annuli::verify
