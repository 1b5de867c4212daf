#include "annuli/grow/transforms/fill.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/copied_rows.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/quantize/code_range.h"
#include "annuli/kernels/quantize/weight_codes.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;  // elements per parallel task

// Normal numbers are numbered by their place in the child, every row from a
// multiple of 4 on.
template <typename Stored>
class FilledRows : public RowSource {
 public:
  FilledRows(RowSourcePtr rows, const RowContext& context, const Fill& fill)
      : rows_(std::move(rows)),
        layout_(layout_of(context)),
        is_normal_(fill.value == Fill::Value::kNormal),
        value_(is_normal_ ? fill.std : context.line.scale),
        width_((layout_.child_columns + 3) / 4 * 4),
        coded_(context.line.coded),
        rng_(context.seed, context.line.stream) {}

  void make(int64_t begin, int64_t end, void* target) const override {
    rows_->make(begin, end, target);
    if (!coded_) return fill(begin, end, target);
    const at::Tensor made =
        at::from_blob(target, {end - begin, layout_.child_columns},
                      c10::CppTypeToScalarType<Stored>::value);
    const at::Tensor steps = kernels::code_steps(made.to(at::kFloat));
    fill(begin, end, target);
    made.copy_(in_codes(made.to(at::kFloat), steps));
  }

 private:
  // Beside entries that are copied, a new one is a code of their scale, if need
  // be the largest; by themselves new ones have a scale of their own.
  static at::Tensor in_codes(const at::Tensor& filled,
                             const at::Tensor& steps) {
    const at::Tensor codes =
        (filled / steps)
            .round()
            .clamp(-kernels::kLargestCode, kernels::kLargestCode);
    const at::Tensor values = at::where(steps > 0, codes * steps, filled);
    kernels::from_codes(kernels::to_codes(values), values);
    return values;
  }

  void fill(int64_t begin, int64_t end, void* target) const {
    auto* out = static_cast<Stored*>(target);
    const int64_t stride = layout_.child_columns;
    for (size_t i = 0; i < layout_.rows.slices.size(); ++i) {
      const Slice rows = layout_.rows.slices[i];
      const int64_t first = std::max(begin, layout_.rows.starts[i]);
      const int64_t last = std::min(end, layout_.rows.starts[i] + rows.length);
      for (size_t j = 0; j < layout_.columns.slices.size(); ++j) {
        const Slice columns = layout_.columns.slices[j];
        if (!rows.is_new() && !columns.is_new()) continue;
        write(first, last, layout_.columns.starts[j], columns.length,
              out + (first - begin) * stride);
      }
    }
  }

  // Rows [first, last) of the child; `out` is where the first one begins.
  void write(int64_t first, int64_t last, int64_t column, int64_t count,
             Stored* out) const {
    if (first >= last) return;
    const int64_t stride = layout_.child_columns;
    const int64_t grain = std::max<int64_t>(1, kGrain / count);
    kernels::parallel_blocks(last - first, grain, [&](int64_t a, int64_t b) {
      for (int64_t row = a; row < b; ++row) {
        write_row(first + row, column, count, out + row * stride + column);
      }
    });
  }

  void write_row(int64_t row, int64_t column, int64_t count,
                 Stored* out) const {
    if (!is_normal_) {
      std::fill_n(out, count, static_cast<Stored>(value_));
      return;
    }
    const int64_t before = column % 4;
    std::vector<float> numbers(before + count);
    kernels::normal_numbers(rng_, row * width_ + column - before, numbers);
    for (int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<Stored>(value_ *
                                   static_cast<double>(numbers[before + i]));
    }
  }

  RowSourcePtr rows_;
  LineLayout layout_;
  bool is_normal_;
  double value_;
  int64_t width_;
  bool coded_;
  CounterRng rng_;
};

}  // namespace

std::string Fill::in_words() const {
  return value == Value::kOne ? "new entries one" : "new entries normal";
}

RowSourcePtr Fill::on_rows(RowSourcePtr rows, const RowContext& context) const {
  RowSourcePtr filled;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, context.dtype, "fill", [&] {
        filled = std::make_unique<FilledRows<scalar_t>>(std::move(rows),
                                                        context, *this);
      });
  return filled;
}

TransformPtr Fill::followed_by(const TensorRecipe& next,
                               const TransformPtr& self) const {
  if (next.has_new_entries()) return nullptr;
  return std::make_shared<Fill>(value, std * next.scale);
}

bool Fill::changes_layer(const TensorRecipe& line) const {
  return value == Value::kNormal && line.has_new_entries();
}

void Fill::write(const Fill* stated, Json& line) {
  line["fill"] = stated == nullptr              ? "zero"
                 : stated->value == Value::kOne ? "one"
                                                : "normal";
  line["fill_std"] = stated == nullptr ? 0.0 : stated->std;
}

TransformPtr Fill::read(const Json& line) {
  const auto word = line.at("fill").get<std::string>();
  const auto std = line.at("fill_std").get<double>();
  if (word == "zero") return nullptr;
  if (word == "one") return std::make_shared<Fill>(Value::kOne, std);
  if (word == "normal") return std::make_shared<Fill>(Value::kNormal, std);
  user_error("reading a recipe: fill '{}', expected zero, one or normal", word);
}

}  // namespace annuli::grow
