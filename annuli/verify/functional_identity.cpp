#include "annuli/verify/functional_identity.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/verify/axis_layout.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/tensor_audit.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "functional_identity";

// fp32 GEMMs of other shapes sum in another order. A sum of C terms rounds to
// about sqrt(C) * eps of its rms, 4e-6 for C = 4096 at 2^-24; layers add such
// errors in quadrature to a residual stream that grows with them. 1e-5 holds
// them with room; the smallest fault of growth (one of 8 experts random, a
// router not divided) is above 1e-3.
constexpr double kSingleLimit = 1e-5;
// The same in fp64: sqrt(C) * 2^-53 a layer, below 1e-13.
constexpr double kDoubleLimit = 1e-12;

// Every stored weight is off by up to u of itself, independently: each of the
// 4 L + 1 matrices on the path moves its output by at most u relative, in
// quadrature; 4 for the worst case over windows.
double storage_limit(const grow::Recipe& recipe, double roundoff) {
  const double matrices = 4.0 * recipe.child.num_hidden_layers + 1;
  return 4 * std::sqrt(matrices) * roundoff;
}

}  // namespace

double identity_limit(const grow::Recipe& recipe, Precision precision) {
  const double rounding =
      precision.arithmetic == at::kDouble ? kDoubleLimit : kSingleLimit;
  return std::max(rounding, storage_limit(recipe, precision.storage_roundoff));
}

FunctionalIdentity::FunctionalIdentity(const grow::Recipe& recipe,
                                       Precision precision, bool equal_shapes)
    : recipe_(recipe) {
  exactly_ = equal_shapes ||
             (keeps_every_tensor(recipe) && precision.storage_roundoff == 0);
  limit_ = exactly_ ? 0 : identity_limit(recipe, precision);
  how_ = equal_shapes         ? "equal GEMM shapes, largest difference"
         : exactly_           ? "largest difference"
         : is_upcycle(recipe) ? "dispatch that trains"
         : precision.arithmetic == at::kFloat ? "fp32 arithmetic"
                                              : "fp64 arithmetic";
}

// By pieces: in fp64 logits take twice the memory that they have.
void FunctionalIdentity::add(Difference& sum, const at::Tensor& parent,
                             const at::Tensor& child) {
  constexpr int64_t kEntries = int64_t{1} << 21;
  const at::Tensor a = parent.flatten();
  const at::Tensor b = child.flatten();
  for (int64_t begin = 0; begin < a.numel(); begin += kEntries) {
    const int64_t count = std::min(kEntries, a.numel() - begin);
    const at::Tensor x = a.narrow(0, begin, count).to(at::kDouble);
    const at::Tensor d = b.narrow(0, begin, count).to(at::kDouble) - x;
    sum.squared += std::pow(d.norm().item<double>(), 2);
    sum.size_squared += std::pow(x.norm().item<double>(), 2);
    sum.largest = worse(sum.largest, d.abs().max().item<double>());
  }
}

double FunctionalIdentity::distance(const Difference& difference) const {
  return exactly_ ? difference.largest
                  : std::sqrt(difference.squared / difference.size_squared);
}

void FunctionalIdentity::see(const LayerView& view) {
  const at::Tensor& found = view.child.residual;
  if (found.numel() == 0) return;
  saw_layers_ = true;
  Difference difference;
  add(difference, lay_out(view.parent.residual, 2, recipe_, Axis::kResidual),
      found);
  const double d = distance(difference);
  residual_ = worse(residual_, d);
  const int64_t layer = view.layers.child;
  const bool earlier = first_layer_ < 0 || layer < first_layer_;
  if (!(d <= limit_) && earlier) first_layer_ = layer;
}

void FunctionalIdentity::see_logits(int64_t window, const at::Tensor& parent,
                                    const at::Tensor& child) {
  if (recipe_.exact) add(logits_[window], parent, child);
}

std::vector<Verdict> FunctionalIdentity::verdicts() const {
  std::vector<Verdict> verdicts;
  if (saw_layers_) {
    verdicts.push_back(at_most(
        kCheck, "residual stream of every layer, " + how_, residual_, limit_));
  }
  if (recipe_.exact) {
    double logits = 0;
    for (const auto& [window, sum] : logits_) {
      logits = worse(logits, distance(sum));
    }
    verdicts.push_back(at_most(kCheck, "logits, " + how_, logits, limit_));
  }
  for (Verdict& verdict : verdicts) verdict.layer = first_layer_;
  return verdicts;
}

Verdict double_identity(const ParentRecord& parent, const grow::Recipe& recipe,
                        const Probe& probe, const Transformer& child) {
  const double roundoff = storage_roundoff(parent.sketches, recipe, child);
  return at_most(
      kCheck, "logits, fp64 arithmetic",
      relative_error(parent.double_logits, logits_in_double(child, probe)),
      identity_limit(recipe, {at::kDouble, roundoff}));
}

std::vector<Verdict> functional_identity(const ParentRecord& parent,
                                         const grow::Recipe& recipe,
                                         const Probe& probe,
                                         const Transformer& child) {
  std::vector<Verdict> verdicts;
  const Precision precision{child.dtype(),
                            storage_roundoff(parent.sketches, recipe, child)};
  const auto check = [&](Dispatch dispatch, bool equal_shapes) {
    FunctionalIdentity identity(recipe, precision, equal_shapes);
    run_window_checks(parent, recipe, probe, child, dispatch, {&identity});
    for (Verdict& v : identity.verdicts()) verdicts.push_back(std::move(v));
  };
  if (is_plain_upcycle(recipe)) check(Dispatch::kFullBlock, true);
  check(Dispatch::kSorted, false);
  if (parent.double_logits.defined()) {
    verdicts.push_back(double_identity(parent, recipe, probe, child));
  }
  return verdicts;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble);
  const at::Tensor y = b.to(at::kDouble);
  return (x - y).norm().item<double>() / x.norm().item<double>();
}

}  // namespace annuli::verify
