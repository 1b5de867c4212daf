#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

// What one tensor is of another, seen from their values alone: for people who
// compare two checkpoints. Nothing here proves anything (tensor_audit does).
namespace annuli::verify {

enum class Relation {
  kEqual,    // the same values
  kScaled,   // factor times it; 1: but for rounding
  kCopies,   // copies of it, factor times each
  kNoisy,    // copies whose mean is factor times it: noise that cancels
  kChanged,  // of the same shape, or of copies' shape, but something else
  kApart,    // of a shape that holds no copy of it
};

// How copies lie along a dimension: all of it again and again, or every `unit`
// entries by themselves (a head; 1: element by element).
struct CopyLayout {
  int64_t copies = 1;
  int64_t unit = 0;  // 0: the whole dimension
  int64_t rest = 0;  // entries behind the copies
};

struct TensorRelation {
  Relation relation = Relation::kApart;
  double factor = 1;  // that fits best
  // ||b - factor a|| / ||factor a||, over all copies; for kChanged of one shape
  // with factor 1. Infinite where a is zeros and b is not.
  double change = 0;
  std::vector<CopyLayout> layout;  // by dimension
};

// b as something made from a. Both are read some megabytes at a time. head_dim:
// the unit that heads are copied by.
TensorRelation relate(const at::Tensor& a, const at::Tensor& b,
                      int64_t head_dim);

// "2 x 2 copies, times 0.5, noise of 10.0 dB that cancels"
std::string describe(const TensorRelation& relation);

const char* to_string(Relation relation);

}  // namespace annuli::verify
