#include "annuli/grow/row_source.h"

#include <ATen/ops/from_blob.h>

#include <cstring>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/copied_rows.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/quantize/weight_codes.h"

namespace annuli::grow {
namespace {

class Zeros : public RowSource {
 public:
  explicit Zeros(int64_t row_bytes) : row_bytes_(row_bytes) {}
  void make(int64_t begin, int64_t end, void* target) const override {
    std::memset(target, 0, static_cast<size_t>((end - begin) * row_bytes_));
  }

 private:
  int64_t row_bytes_;
};

// Small enough to be held, or in need of a look at the whole.
class Held : public RowSource {
 public:
  explicit Held(at::Tensor rows) : rows_(std::move(rows)) {}
  void make(int64_t begin, int64_t end, void* target) const override {
    const auto row_bytes =
        static_cast<int64_t>(rows_.itemsize()) * rows_.sizes().back();
    std::memcpy(
        target,
        static_cast<const char*>(rows_.const_data_ptr()) + begin * row_bytes,
        static_cast<size_t>((end - begin) * row_bytes));
  }

 private:
  at::Tensor rows_;
};

// All steps but the last are made whole: what stands between two steps is one
// tensor, no larger than the child's.
RowSourcePtr from_steps(const RowContext& context) {
  const auto& [line, parents, seed, dtype, router_mean] = context;
  const std::vector<TensorRecipe>& steps = line.steps;
  at::Tensor made = apply(steps.front(), parents, seed, dtype, router_mean);
  for (size_t i = 1; i + 1 < steps.size(); ++i) {
    made = apply(steps[i], made, seed, dtype, router_mean);
  }
  return make_source({steps.back(), made, seed, dtype, router_mean});
}

// Rows, each entry rounded to the nearest code of its block.
class Coded : public RowSource {
 public:
  Coded(RowSourcePtr rows, const RowContext& context)
      : rows_(std::move(rows)),
        columns_(context.line.shape.back()),
        dtype_(context.dtype) {}

  void make(int64_t begin, int64_t end, void* target) const override {
    rows_->make(begin, end, target);
    const at::Tensor made =
        at::from_blob(target, {end - begin, columns_}, dtype_);
    const at::Tensor rounded = made.to(at::kFloat, false, /*copy=*/true);
    kernels::from_codes(kernels::to_codes(rounded), rounded);
    made.copy_(rounded);
  }

 private:
  RowSourcePtr rows_;
  int64_t columns_;
  at::ScalarType dtype_;
};

}  // namespace

RowSourcePtr held_source(const at::Tensor& made) {
  ANNULI_CHECK(kernels::is_plain(made), "rows of a tensor that is not plain");
  return std::make_unique<Held>(made);
}

at::Tensor whole(const RowSource& rows, const TensorRecipe& line,
                 at::ScalarType dtype) {
  at::Tensor tensor = kernels::owned_empty(line.shape, dtype);
  rows.make(0, line.shape.size() == 2 ? line.shape[0] : 1, tensor.data_ptr());
  return tensor;
}

RowSourcePtr make_source(const RowContext& context) {
  const TensorRecipe& line = context.line;
  if (!line.steps.empty()) return from_steps(context);
  const auto row_bytes =
      line.shape.back() * static_cast<int64_t>(c10::elementSize(context.dtype));
  RowSourcePtr rows = line.source == Source::kParent
                          ? copied_rows(context)
                          : std::make_unique<Zeros>(row_bytes);
  if (line.source == Source::kZero) return rows;
  for (const TransformPtr& transform : line.transforms) {
    rows = transform->on_rows(std::move(rows), context);
  }
  if (line.coded && line.source == Source::kFresh) {
    rows = std::make_unique<Coded>(std::move(rows), context);
  }
  return rows;
}

}  // namespace annuli::grow
