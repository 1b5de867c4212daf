#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// How full each expert of each layer was over the steps of a phase, in few
// enough columns to look at.
//
// A value is the expert's slots over the layer's mean: 1 is even, 0 is dead. A
// column is the mean over `width` steps. However many steps are added, at most
// `2 * kTarget` columns are held: when they are full, each two become one.
namespace annuli::report {

class LoadMap {
 public:
  static constexpr size_t kTarget = 120;  // columns at the end, at most

  bool empty() const { return columns_.empty(); }
  // Whether these slots have the shape of those before.
  bool fits(const std::vector<std::vector<double>>& slots) const;
  // `row` is the step's place among all steps of the run.
  void add(size_t row, const std::vector<std::vector<double>>& slots);
  // Joins columns until there are at most kTarget, and fewer where there are so
  // many experts that they would make more than `most_values`.
  void finish(size_t most_values);

  size_t layers() const { return layers_; }
  size_t experts() const { return experts_; }
  size_t columns() const { return columns_.size(); }
  size_t first_row() const { return first_row_; }
  size_t width() const { return width_; }  // steps of each column but the last
  double value(size_t column, size_t layer, size_t expert) const;

 private:
  struct Sum {
    size_t steps = 0;
    std::vector<double> loads;  // [layer * experts]
  };
  void halve();

  size_t layers_ = 0;
  size_t experts_ = 0;
  size_t first_row_ = 0;
  size_t width_ = 1;
  std::vector<Sum> columns_;
};

}  // namespace annuli::report
