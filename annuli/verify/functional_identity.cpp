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
  if (!(d <= limit_)) differs_from(view.layers.child);
}

void FunctionalIdentity::differs_from(int64_t layer) {
  if (first_layer_ < 0 || layer < first_layer_) first_layer_ = layer;
}

void FunctionalIdentity::see_logits(int64_t window, const at::Tensor& parent,
                                    const at::Tensor& child) {
  if (recipe_.exact) add(logits_[window], parent, child);
}

std::vector<double> FunctionalIdentity::seen() const {
  std::vector<double> numbers = {static_cast<double>(saw_layers_), residual_,
                                 static_cast<double>(first_layer_)};
  for (const auto& [window, sum] : logits_) {
    numbers.insert(numbers.end(), {static_cast<double>(window), sum.squared,
                                   sum.size_squared, sum.largest});
  }
  return numbers;
}

void FunctionalIdentity::add_seen(const std::vector<double>& other) {
  saw_layers_ = saw_layers_ || other[0] != 0;
  residual_ = worse(residual_, other[1]);
  if (other[2] >= 0) differs_from(static_cast<int64_t>(other[2]));
  for (size_t i = 3; i < other.size(); i += 4) {
    logits_[static_cast<int64_t>(other[i])] = {other[i + 1], other[i + 2],
                                               other[i + 3]};
  }
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

DoubleIdentity::DoubleIdentity(const ParentRecord& parent,
                               const grow::Recipe& recipe, const Probe& probe,
                               const Transformer& child)
    : parent_(parent), recipe_(recipe), probe_(probe), child_(child) {}

void DoubleIdentity::add_to(std::vector<Pass>& passes) {
  if (!parent_.double_logits.defined()) return;
  passes.emplace_back([this] {
    error_ = {relative_error(parent_.double_logits,
                             logits_in_double(child_, probe_))};
  });
}

Verdict DoubleIdentity::verdict() const {
  const double roundoff = storage_roundoff(parent_.sketches, recipe_, child_);
  return at_most(kCheck, "logits, fp64 arithmetic",
                 of_holder(parent_.division.group(), error_).at(0),
                 identity_limit(recipe_, {at::kDouble, roundoff}));
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
  if (!parent.has_double_logits) return verdicts;
  DoubleIdentity in_double(parent, recipe, probe, child);
  std::vector<Pass> passes;
  in_double.add_to(passes);
  make_passes(child, parent.division.group(), "proving: the child in fp64",
              passes);
  verdicts.push_back(in_double.verdict());
  return verdicts;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble);
  const at::Tensor y = b.to(at::kDouble);
  return (x - y).norm().item<double>() / x.norm().item<double>();
}

}  // namespace annuli::verify
