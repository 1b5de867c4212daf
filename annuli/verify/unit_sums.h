#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "annuli/verify/sketch.h"

// A dense layer's down, judged unit by unit (Sketch::by_unit), in a child that
// holds only some of the units, drew some anew, or holds the copies of a unit
// in several tensors.
//
// The last is what a layer becomes that was widened and then cut into shards:
// cancelling noise adds up to nothing only over all shards of a copy. So they
// are added one by one, and the distance is that of their sum.
namespace annuli::verify {

class UnitSums {
 public:
  bool empty() const { return !found_.defined(); }

  // `child` is one of the tensors; all have one parent.
  void add(const Sketch& parent, const Demanded& demanded,
           const at::Tensor& child);

  // Units that are nowhere in the child do not count; one of which some copy
  // was drawn anew counts as drawn.
  SketchDistance distance() const;

 private:
  at::Tensor found_;     // [C, copies of the rows]
  at::Tensor expected_;  // [C, 1]
  at::Tensor held_;      // [C, 1], 0 or 1
  at::Tensor drawn_;     // [C, 1], 0 or 1; undefined if nothing is drawn
};

// The name that a by-unit sketch's random vector is drawn from.
std::string rows_name(const std::string& name);

// Of the copies that the sum over dimension `contracted` is over, the share
// that this tensor holds.
double held_share(const Demanded& demanded, int64_t contracted);

// Not every unit of the parent is in this tensor as it was.
bool lacks_units(const Demanded& demanded, int64_t contracted);

}  // namespace annuli::verify
