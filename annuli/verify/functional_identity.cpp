#include "annuli/verify/functional_identity.h"

#include <ATen/TensorOperators.h>
#include <cmath>
#include <limits>
#include <utility>

#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "functional_identity";

// fp32 GEMMs of other shapes sum in another order. A sum of C terms rounds to
// about sqrt(C) * eps of its rms, 4e-6 for C = 4096 at 2^-24; layers add such
// errors in quadrature to a residual stream that grows with them. 1e-5 holds
// them with room; the smallest fault of growth (one of 8 experts random, a
// router not divided) is above 1e-3.
constexpr double kSingleLimit = 1e-5;
// The same in fp64: see double_limit.
constexpr double kDoubleLimit = 1e-12;

// fp64 arithmetic on stored weights. If 1/n is exact or storage is fp64,
// nothing but fp64 rounding is left: sqrt(C) * 2^-53 a layer, below 1e-13.
// Otherwise every stored weight is off by up to eps/2 of itself, independently:
// each of the 4 L + 1 matrices on the path moves its output by at most eps/2
// relative, in quadrature; 4 for the worst case over windows.
double double_limit(const grow::Recipe& recipe, at::ScalarType storage) {
  const auto n = static_cast<uint64_t>(recipe.width_factor);
  const bool power_of_two = (n & (n - 1)) == 0;
  if (power_of_two || storage == at::kDouble) return kDoubleLimit;
  const double matrices = 4.0 * recipe.child.num_hidden_layers + 1;
  return 4 * std::sqrt(matrices) * std::numeric_limits<float>::epsilon() / 2;
}

at::Tensor widened(const at::Tensor& residual, const grow::Recipe& recipe) {
  return recipe.width_factor == 1
             ? residual
             : residual.repeat({1, 1, recipe.width_factor});
}

}  // namespace

FunctionalIdentity::FunctionalIdentity(const grow::Recipe& recipe,
                                       at::ScalarType dtype, bool equal_shapes)
    : recipe_(recipe) {
  const bool widens = recipe.width_factor > 1;
  exactly_ = equal_shapes || (!widens && !is_upcycle(recipe));
  limit_ = exactly_ ? 0 : (dtype == at::kDouble ? kDoubleLimit : kSingleLimit);
  how_ = equal_shapes          ? "equal GEMM shapes, largest difference"
         : exactly_            ? "largest difference"
         : is_upcycle(recipe)  ? "dispatch that trains"
         : dtype == at::kFloat ? "fp32 arithmetic"
                               : "fp64";
}

double FunctionalIdentity::distance(const at::Tensor& a,
                                    const at::Tensor& b) const {
  return exactly_ ? (a - b).abs().max().item<double>() : relative_error(a, b);
}

void FunctionalIdentity::see(const WindowRecord& parent,
                             const WindowRecord& child) {
  for (const LayerPair& pair : comparable_layers(recipe_)) {
    const double d =
        distance(widened(parent.trace.layers[pair.parent].residual, recipe_),
                 child.trace.layers[pair.child].residual);
    residual_ = worse(residual_, d);
    const bool earlier = first_layer_ < 0 || pair.child < first_layer_;
    if (!(d <= limit_) && earlier) first_layer_ = pair.child;
  }
  if (recipe_.exact) {
    logits_ = worse(logits_, distance(parent.logits, child.logits));
  }
}

std::vector<Verdict> FunctionalIdentity::verdicts() const {
  std::vector<Verdict> verdicts = {at_most(
      kCheck, "residual stream of every layer, " + how_, residual_, limit_)};
  if (recipe_.exact) {
    verdicts.push_back(at_most(kCheck, "logits, " + how_, logits_, limit_));
  }
  for (Verdict& verdict : verdicts) verdict.layer = first_layer_;
  return verdicts;
}

Verdict double_identity(const ParentRecord& parent, const grow::Recipe& recipe,
                        const Probe& probe, const Transformer& child) {
  return at_most(
      kCheck, "logits, fp64 arithmetic",
      relative_error(parent.double_logits, logits_in_double(child, probe)),
      double_limit(recipe, child.dtype()));
}

std::vector<Verdict> functional_identity(const ParentRecord& parent,
                                         const grow::Recipe& recipe,
                                         const Probe& probe,
                                         const Transformer& child) {
  std::vector<Verdict> verdicts;
  const auto check = [&](Dispatch dispatch, bool equal_shapes) {
    FunctionalIdentity identity(recipe, child.dtype(), equal_shapes);
    run_window_checks(parent, recipe, probe, child, dispatch, {&identity});
    for (Verdict& v : identity.verdicts()) verdicts.push_back(std::move(v));
  };
  if (is_upcycle(recipe)) check(Dispatch::kFullBlock, true);
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
