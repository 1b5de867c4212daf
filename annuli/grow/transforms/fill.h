#pragma once

#include "annuli/grow/transforms/transform.h"

namespace annuli::grow {

// What the entries of a copied tensor are that no parent has. Without this
// transform: zeros.
//
// In a chain a later step that has new entries of its own states theirs; one
// that has none scales these. State: new entries begin with zero moments. The
// audit asks that new entries are zero where the function needs it, whatever is
// stated here.
class Fill : public Transform {
 public:
  static constexpr const char* kName = "fill";

  enum class Value {
    kOne,     // times the line's scale
    kNormal,  // times `std`, numbers of the line's stream
  };

  explicit Fill(Value what, double deviation = 0)
      : value(what), std(deviation) {}

  const Value value;
  const double std;  // kNormal only

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  TransformPtr followed_by(const TensorRecipe& next,
                           const TransformPtr& self) const override;
  bool changes_layer(const TensorRecipe& line) const override;

  static void write(const Fill* stated, Json& line);
  static TransformPtr read(const Json& line);
};

}  // namespace annuli::grow
