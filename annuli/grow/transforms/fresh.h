#pragma once

#include "annuli/grow/transforms/transform.h"
#include "annuli/model/first_values.h"

namespace annuli::grow {

// What a tensor of a new model begins with (model/first_values.h), in a layer
// that is no copy: normal numbers of the line's stream times `std`, or ones.
// (Zeros are a source of their own.)
//
// It makes rows of nothing, and only where the line's source says so. Number i
// of the tensor is number i of the stream, as in `initialize`. In a chain the
// first step's is stated; a later step lays out what was drawn. State starts
// anew. The audit draws the tensor again (verify/tensor_audit.h).
class Fresh : public Transform {
 public:
  static constexpr const char* kName = "fresh";

  explicit Fresh(FirstValues what, double deviation = 0)
      : values(what), std(deviation) {}

  const FirstValues values;
  const double
      std;  // kNormal only; 0: not known (two models alone do not tell)

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  bool carries_state() const override;
  bool changes_layer(const TensorRecipe& line) const override;

  static void write(const Fresh* stated, Json& line);
  static TransformPtr read(const Json& line);
};

}  // namespace annuli::grow
