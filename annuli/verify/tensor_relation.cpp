#include "annuli/verify/tensor_relation.h"

#include <ATen/TensorOperators.h>
#include <c10/core/ScalarType.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace annuli::verify {
namespace {

constexpr int64_t kEntries = int64_t{1} << 21;  // 16 MB of fp64

// Eight times what rounding a copy in its type moves it by.
double rounding(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return 0x1p-5;
    case at::kHalf:
      return 0x1p-8;
    default:
      return 0x1p-21;
  }
}

// Vectors as matrices of one row.
at::Tensor as_matrix(const at::Tensor& tensor) {
  return tensor.dim() == 2 ? tensor : tensor.reshape({1, -1});
}

// [size / unit, unit] of the first entries of a dimension, one copy of them.
at::Tensor copy_of(const at::Tensor& b, int64_t dim, int64_t size,
                   const CopyLayout& layout, int64_t copy) {
  if (layout.unit == 0) return b.narrow(dim, copy * size, size);
  std::vector<int64_t> shape = b.sizes().vec();
  shape[dim] = size / layout.unit;
  shape.insert(shape.begin() + dim + 1, {layout.copies, layout.unit});
  const at::Tensor kept = b.narrow(dim, 0, size * layout.copies);
  return kept.reshape(shape).select(dim + 1, copy).flatten(dim, dim + 1);
}

// Rows [begin, begin + count) of a, and of every copy of it in b, in fp64.
class Blocks {
 public:
  Blocks(const at::Tensor& a, const at::Tensor& b, CopyLayout rows,
         CopyLayout cols)
      : a_(a), b_(b), rows_(rows), cols_(cols) {
    const int64_t unit = std::max<int64_t>(1, rows.unit);
    step_ = std::max<int64_t>(1, kEntries / a.size(1) / unit) * unit;
  }

  template <typename Function>
  void for_each(const Function& function) const {
    for (int64_t begin = 0; begin < a_.size(0); begin += step_) {
      const int64_t count = std::min(step_, a_.size(0) - begin);
      const at::Tensor of_a = a_.narrow(0, begin, count).to(at::kDouble);
      std::vector<at::Tensor> copies;
      for (int64_t i = 0; i < rows_.copies; ++i) {
        const at::Tensor strip = rows_of(begin, count, i).to(at::kDouble);
        for (int64_t j = 0; j < cols_.copies; ++j) {
          copies.push_back(copy_of(strip, 1, a_.size(1), cols_, j));
        }
      }
      function(of_a, copies);
    }
  }

 private:
  at::Tensor rows_of(int64_t begin, int64_t count, int64_t copy) const {
    if (rows_.unit == 0) {
      return b_.narrow(0, copy * a_.size(0) + begin, count);
    }
    const at::Tensor strip =
        b_.narrow(0, begin * rows_.copies, count * rows_.copies);
    return copy_of(strip, 0, count, rows_, copy);
  }

  const at::Tensor& a_;
  const at::Tensor& b_;
  CopyLayout rows_;
  CopyLayout cols_;
  int64_t step_;
};

struct Fit {
  double factor = 0;
  double each = 0;   // change of the copies
  double mean = 0;   // change of their mean
  double plain = 0;  // with factor 1
};

double square(const at::Tensor& tensor) {
  return std::pow(tensor.norm().item<double>(), 2);
}

// A factor within `near` of 1 is 1.
Fit fit(const Blocks& blocks, double near) {
  double aa = 0;
  double am = 0;
  blocks.for_each([&](const at::Tensor& a, const std::vector<at::Tensor>& b) {
    aa += square(a);
    for (const at::Tensor& copy : b) {
      am += (a * copy).sum().item<double>() / static_cast<double>(b.size());
    }
  });
  Fit fit{.factor = aa > 0 ? am / aa : 1};
  // The nearest number with a short binary form, if that is what it is.
  const double rounded = std::round(fit.factor * 4096) / 4096;
  if (std::abs(fit.factor - rounded) < 1e-6) fit.factor = rounded;
  if (std::abs(fit.factor - 1) < near) fit.factor = 1;
  double each = 0;
  double mean = 0;
  double plain = 0;
  double copies = 1;
  blocks.for_each([&](const at::Tensor& a, const std::vector<at::Tensor>& b) {
    copies = static_cast<double>(b.size());
    at::Tensor sum = b[0].clone();
    for (size_t i = 1; i < b.size(); ++i) sum += b[i];
    mean += square(sum / copies - fit.factor * a);
    for (const at::Tensor& copy : b) {
      each += square(copy - fit.factor * a);
      plain += square(copy - a);
    }
  });
  const double size = fit.factor * fit.factor * aa;
  const auto relative = [](double change, double of) {
    return change == 0 ? 0 : std::sqrt(change / of);
  };
  fit.each = relative(each, copies * size);
  fit.mean = relative(mean, size);
  fit.plain = relative(plain, copies * aa);
  return fit;
}

std::vector<CopyLayout> layouts(int64_t a, int64_t b, int64_t head_dim) {
  const int64_t copies = b / a;
  const int64_t rest = b % a;
  std::vector<CopyLayout> all = {{copies, 0, rest}};
  if (copies < 2) return all;
  if (head_dim < a && a % head_dim == 0)
    all.push_back({copies, head_dim, rest});
  all.push_back({copies, 1, rest});
  return all;
}

TensorRelation judged(const Fit& fit, const CopyLayout& rows,
                      const CopyLayout& cols, double limit) {
  TensorRelation result{.factor = fit.factor, .change = fit.each};
  result.layout = {rows, cols};
  const bool one = rows.copies * cols.copies == 1;
  const bool whole = rows.rest + cols.rest == 0;
  if (fit.each <= limit) {
    result.relation = !one || !whole   ? Relation::kCopies
                      : fit.plain == 0 ? Relation::kEqual
                                       : Relation::kScaled;
  } else if (!one && fit.mean <= limit) {
    result.relation = Relation::kNoisy;
  } else {
    result.relation = Relation::kChanged;
    if (one && whole) {
      result.factor = 1;
      result.change = fit.plain;
    }
  }
  return result;
}

std::string layout_text(const CopyLayout& layout, size_t dimension) {
  std::string text;
  if (layout.unit > 0) {
    text = fmt::format(", dimension {} by {}", dimension,
                       layout.unit == 1 ? std::string("element")
                                        : fmt::format("{}", layout.unit));
  }
  if (layout.rest > 0) {
    text += fmt::format(", {} more in dimension {}", layout.rest, dimension);
  }
  return text;
}

}  // namespace

TensorRelation relate(const at::Tensor& a, const at::Tensor& b,
                      int64_t head_dim) {
  TensorRelation best;
  if (a.dim() != b.dim() || a.dim() < 1 || a.dim() > 2 || a.numel() == 0) {
    return best;
  }
  const at::Tensor x = as_matrix(a.detach());
  const at::Tensor y = as_matrix(b.detach());
  if (y.size(0) < x.size(0) || y.size(1) < x.size(1)) return best;
  const double limit =
      std::max(rounding(a.scalar_type()), rounding(b.scalar_type()));
  // Four times what the roundings of so many entries, limit / 8 at most and
  // each another, move the factor by.
  const double near = limit / 2 / std::sqrt(static_cast<double>(x.numel()));
  for (const CopyLayout& rows : layouts(x.size(0), y.size(0), head_dim)) {
    for (const CopyLayout& cols : layouts(x.size(1), y.size(1), head_dim)) {
      const TensorRelation found =
          judged(fit(Blocks(x, y, rows, cols), near), rows, cols, limit);
      if (found.relation != Relation::kChanged) best = found;
      if (best.relation == Relation::kApart ||
          (best.relation == Relation::kChanged && found.change < best.change)) {
        best = found;
      }
      if (best.relation != Relation::kChanged) break;
    }
    if (best.relation != Relation::kChanged) break;
  }
  if (a.dim() == 1) best.layout.erase(best.layout.begin());
  return best;
}

std::string describe(const TensorRelation& relation) {
  std::string copies;
  std::string layout;
  for (size_t i = 0; i < relation.layout.size(); ++i) {
    copies +=
        fmt::format("{}{}", i == 0 ? "" : " x ", relation.layout[i].copies);
    layout += layout_text(relation.layout[i], i);
  }
  const std::string factor =
      relation.factor == 1 ? ""
                           : fmt::format(", times {:.6g}", relation.factor);
  switch (relation.relation) {
    case Relation::kEqual:
      return "equal";
    case Relation::kScaled:
      return relation.factor == 1
                 ? "equal but for rounding"
                 : fmt::format("times {:.6g}", relation.factor);
    case Relation::kCopies:
      return fmt::format("{} copies{}{}", copies, factor, layout);
    case Relation::kNoisy:
      return fmt::format("{} copies{}{}, noise of {:.1f} dB that cancels",
                         copies, factor, layout,
                         -20 * std::log10(relation.change));
    case Relation::kChanged:
      if (std::isinf(relation.change)) return "changed from zeros";
      return fmt::format("changed by {:.2g} of its size", relation.change);
    case Relation::kApart:
      return "of another shape";
  }
  return "?";
}

const char* to_string(Relation relation) {
  switch (relation) {
    case Relation::kEqual:
      return "equal";
    case Relation::kScaled:
      return "scaled";
    case Relation::kCopies:
      return "copies";
    case Relation::kNoisy:
      return "noisy_copies";
    case Relation::kChanged:
      return "changed";
    case Relation::kApart:
      return "apart";
  }
  return "?";
}

}  // namespace annuli::verify
