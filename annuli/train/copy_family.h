#pragma once

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"

namespace annuli::train {

// Sums of squares over entries.
struct CopyShare {
  double apart = 0;  // outside the space in which copies are equal
  double total = 0;
};

// Tensors of a child that were made of one parent tensor: a widened matrix,
// whose tiles are copies; the experts of an upcycled layer; a layer and the one
// that was added as its copy. All of it follows from their lines of the recipe.
//
// Child entries that hold the same parent entry are copies. W is a multiple s
// of what they share where growth scaled them so: the nearest values that are
// equal in that sense are s sum(s W) / sum(s^2), over the copies of each entry.
// `apart` is the squared distance to them, 0 if the copies are equal (to
// rounding where s is no power of two or a sum of copies rounds). Entries that
// no parent has are left out.
//
// Only a sample of the parent's rows is looked at, each with all its copies: at
// least two rows, at equal distances that are odd, so that rows of all places
// in a head are among them.
class CopyFamily {
 public:
  // `entries`: about how many are looked at in a tensor.
  CopyFamily(const std::vector<const grow::TensorRecipe*>& tensors,
             int64_t entries);

  // Whether any entry that is looked at is there twice.
  bool has_copies() const { return has_copies_; }
  int64_t size() const { return static_cast<int64_t>(members_.size()); }
  // Rows of a tensor that are looked at, ascending; at least one.
  const std::vector<int64_t>& rows(int64_t tensor) const {
    return members_[tensor].rows;
  }

  // values: of each tensor its rows, one after the other.
  CopyShare share(const std::vector<const double*>& values) const;

 private:
  struct Member {
    double scale = 1;
    int64_t width = 0;  // columns of the child
    std::vector<int64_t> rows;
    std::vector<int64_t> slots;           // of each row; -1: no parent's
    std::vector<int64_t> columns;         // with a parent's, ascending
    std::vector<int64_t> parent_columns;  // of those
  };

  void choose_rows(const std::vector<std::vector<int64_t>>& parent_rows,
                   int64_t stride);
  void weigh();
  template <typename Visit>
  void visit(const Member& member, const Visit& visit) const;

  std::vector<Member> members_;
  int64_t slots_ = 0;    // parent rows that are looked at
  int64_t columns_ = 0;  // of the parent
  bool has_copies_ = false;
  std::vector<double> weights_;  // [slots x columns] sum of s^2
};

// The distance of rows that are looked at, odd, so that about `entries` are.
int64_t row_stride(int64_t rows, int64_t all_entries, int64_t entries);

}  // namespace annuli::train
