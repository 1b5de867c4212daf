#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/core/rng.h"

// A change of a tensor's values beyond "slices of the parent's, times a scale":
// noise, units drawn anew, what new entries hold. A line of a recipe has a list
// of them.
//
// One kind of transform is one file of this folder: what it states in JSON, how
// it changes rows, what is left of it in a chain, what it means for the
// optimizer's state, and what the audit may expect of it. The table of kinds
// stands in registry.cpp.
//
// Guarantees: a transform is pure data and never changes once it is made. What
// it does depends on the line, the parents, the growth's seed and the stored
// type alone: not on threads, nor on how many rows are made at a time.
namespace annuli::grow {

struct TensorRecipe;
struct RowContext;
class RowSource;
class Transform;
using TransformPtr = std::shared_ptr<const Transform>;

// N(0, 1) for rows [first, first + rows) of a matrix: number i of the matrix,
// row by row, is number i of `rng`.
std::vector<float> normal_rows(const CounterRng& rng, int64_t first,
                               int64_t rows, int64_t columns);

// Noise of which the seed tells every number: times `relative_std` and the root
// mean square of what it is added to.
struct AddedNoise {
  double relative_std;
  uint64_t stream;

  // normal_rows of it.
  std::vector<float> numbers(uint64_t seed, int64_t first, int64_t rows,
                             int64_t columns) const;
};

class Transform {
 public:
  virtual ~Transform() = default;

  // The name of its kind.
  virtual const char* name() const = 0;

  // "noise 10 dB", for people.
  virtual std::string in_words() const = 0;

  // `rows` with this change made to them.
  virtual std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const = 0;

  // What a line of a chain says of this transform of an earlier step, with
  // `next` after it; null: nothing. `self` is this transform.
  virtual TransformPtr followed_by(const TensorRecipe& next,
                                   const TransformPtr& self) const;
  // The same where the tensor is all zeros.
  virtual TransformPtr on_zeros(const TransformPtr& self) const;
  // Throws UserError if it cannot come after `first` in a chain.
  virtual void check_after(const TensorRecipe& first) const;

  // The moments of the parent's tensor still mean something for the child's.
  // (They follow slices and scale: moments are never transformed.)
  virtual bool carries_state() const;

  // For the audit. A layer that holds such a tensor no longer computes what the
  // parent's does.
  virtual bool changes_layer(const TensorRecipe& line) const = 0;
  // For the audit: what must be found added to the parent's values; null:
  // nothing that a product with the whole tensor shows.
  virtual const AddedNoise* added() const;
  // For the audit: what the parent's values are multiplied by, before that is
  // added. (A line's scale is what the function and the moments follow.)
  virtual double factor() const;
};

// How a kind stands in a line's JSON.
struct TransformKind {
  const char* name;
  // Adds to the line what is stated; null: the line has none of this kind.
  void (*write)(const Transform* stated, Json& line);
  // Null if the line has none.
  TransformPtr (*read)(const Json& line);
};

template <typename T>
TransformKind transform_kind() {
  return {T::kName,
          [](const Transform* stated, Json& line) {
            T::write(static_cast<const T*>(stated), line);
          },
          T::read};
}

// All kinds, in the order in which a line's transforms are carried out.
const std::vector<TransformKind>& transform_kinds();

}  // namespace annuli::grow
