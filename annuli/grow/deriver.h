#pragma once

#include "annuli/grow/axis_rule.h"

// One line of a recipe from an AxisRule; what `derive` does row by row.
namespace annuli::grow {

class Deriver {
 public:
  // `rule` has one LayerRule per child layer; both outlive the deriver.
  Deriver(const AxisRule& rule, const Recipe& recipe);

  TensorRecipe tensor(const TensorSpec& child) const;

 private:
  bool is_new_layer(const TensorSpec& child) const;
  bool is_output(Part part) const;
  bool is_zero(const TensorSpec& child) const;
  // -1: the child's tensor has no counterpart.
  int64_t parent_row(const TensorSpec& child) const;
  bool from_dense(const TensorSpec& child) const;
  bool carries_state(const TensorSpec& child) const;

  TensorRecipe new_router(const TensorSpec& child) const;
  void make_fresh(const TensorSpec& child, TensorRecipe& tensor) const;
  std::vector<Slice> slices(const TensorSpec& child, const Dimension& dimension,
                            int64_t parent_count) const;
  void map_dimensions(const TensorSpec& child, const TensorSpec& parent,
                      TensorRecipe& tensor) const;
  void set_models(const TensorSpec& child, TensorRecipe& tensor) const;
  void set_fill(const TensorSpec& child, TensorRecipe& tensor) const;
  void set_scales(const TensorSpec& child, TensorRecipe& tensor) const;
  double special_scale(const TensorSpec& child) const;
  void set_transforms(const TensorSpec& child, TensorRecipe& tensor) const;

  const AxisRule& rule_;
  const Recipe& recipe_;
  TensorTable parent_table_;
  std::map<std::tuple<Part, int64_t, int64_t>, size_t> parent_row_of_;
  bool dense_parent_;
  bool tied_parent_;
  bool unties_;
  int64_t residual_copies_;
  double filled_;  // r: the share of the residual axis that copies fill
  // Copies of each of a mixture's experts.
  int64_t expert_copies_ = 1;
  // Of those that have gradients.
  int64_t open_copies_ = 1;
};

}  // namespace annuli::grow
