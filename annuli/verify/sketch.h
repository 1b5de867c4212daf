#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/tensor_table.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"

// A parent tensor's fingerprint that outlives it: what the tensor computes on
// one fixed random input.
//
// A matrix W [P, C] is kept as s = W r [P] in fp64, with r ~ N(0, 1) over its
// contracted dimension, drawn from the tensor's name. A gain or bias is kept
// whole. The child's matrix, applied to r laid out by the recipe's slices (0
// where an entry is new), must give s laid out by the recipe's slices: whatever
// was copied, scaled or noised, a function that is preserved is preserved on r.
// Changing any entry by d changes one entry of s by d * r_c.
//
// What s cannot judge is a child that holds only some of the units that are
// summed over: a shard of a dense layer's down, or one whose other units were
// drawn anew. A dense layer's down is kept from its other side too, as
// t = l W [C], l ~ N(0, 1) over its rows: an entry per unit, each by itself.
// The child's l W, copy by copy of the rows and summed over the copies of a
// unit (where noise cancels), must be t of each unit that it kept.
//
// A tensor whose every entry was changed (AddedNoise, grow/transforms) is
// judged by the noise drawn again: P numbers s cannot hold P C changes apart,
// any noise of the right size gives sums of the right size. So the parent's
// sketch is moved by what the very same numbers add to it, s + d Z r, with d
// from the parent's root mean square, and the child must give that. Where the
// stored type rounds as coarsely as the noise is fine, the P numbers together
// still tell how much of d Z r is there. Noise that was added to copies has the
// child's layout, and so has what it adds (`Demanded::noise`).
//
// Matrices are read in the order in which they are stored, some megabytes of
// rows at a time.
namespace annuli::verify {

struct Sketch {
  std::string name;
  at::Tensor value;                   // fp64, one entry per produced entry
  at::Tensor by_unit;                 // fp64, one entry per unit; or undefined
  at::ScalarType dtype = at::kFloat;  // of the tensor itself
  double rms = 0;                     // of a matrix
  at::Tensor noise;                   // what of `value` is noise; or undefined
};

Sketch sketch_of(const TensorSpec& spec, const at::Tensor& tensor);

// Of every row of the table: each is made by the process that owns it
// (model/row_owners.h), for all of them.
std::vector<Sketch> sketches_of(const Transformer& model,
                                parallel::ProcessGroup& group);

// The sketch that the parent would have with that noise added to it.
Sketch with_noise(Sketch sketch, const TensorSpec& parent,
                  const grow::AddedNoise& noise, uint64_t seed);

// What the parent's sketch is held against.
struct Demanded {
  const TensorSpec& parent;
  const grow::TensorRecipe& recipe;
  const TensorSpec& child;
  double factor = 1;
  bool new_produced_is_zero = true;  // new entries count: they must give 0
  uint64_t seed = 0;                 // that units were drawn anew by
  at::Tensor noise = {};  // that copies were given: an entry per produced one
};

// d Z r, for noise on a tensor of the child that is made of `parent`: d its
// deviation, r the parent's random input laid out by the recipe.
at::Tensor noise_on_copies(const Demanded& demanded,
                           const grow::AddedNoise& noise, double deviation);

struct SketchDistance {
  // max |s_child - factor * s| / rms(factor * s) over all that is the parent's;
  // for a gain or bias, whose entries are few and may be of very different
  // sizes, the largest |child - factor * parent| / |factor * parent|.
  double kept = 0;
  // The same over what a matrix has drawn anew: 0 if nothing was. Absent if the
  // recipe draws nothing.
  std::optional<double> drawn;
  // Of a sketch with noise: how far the share of that noise which is found in
  // the child is from 1, in units of what it would be off by if each entry of
  // the child were off by all of itself, independently. Absent of shards.
  std::optional<double> noise;
};

// NaN or inf in the child gives NaN or inf.
SketchDistance sketch_distance(const Sketch& parent, const Demanded& demanded,
                               const at::Tensor& child);

}  // namespace annuli::verify
