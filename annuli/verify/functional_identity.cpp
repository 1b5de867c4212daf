#include "annuli/verify/functional_identity.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <limits>
#include <string>

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

// fp64 arithmetic on stored weights. If 1/n is exact or storage is fp64,
// nothing but fp64 rounding is left: sqrt(C) * 2^-53 a layer, below 1e-13.
// Otherwise every stored weight is off by up to eps/2 of itself, independently:
// each of the 4 L + 1 matrices on the path moves its output by at most eps/2
// relative, in quadrature; 4 for the worst case over windows.
double double_limit(const grow::Recipe& recipe, at::ScalarType storage) {
  const auto n = static_cast<uint64_t>(recipe.width_factor);
  const bool power_of_two = (n & (n - 1)) == 0;
  if (power_of_two || storage == at::kDouble) return 1e-12;
  const double matrices = 4.0 * recipe.child.num_hidden_layers + 1;
  return 4 * std::sqrt(matrices) * std::numeric_limits<float>::epsilon() / 2;
}

enum class Distance { kRelative, kLargest };

double distance(const at::Tensor& a, const at::Tensor& b, Distance kind) {
  if (kind == Distance::kRelative) return relative_error(a, b);
  return (a - b).abs().max().item<double>();
}

at::Tensor widened(const at::Tensor& residual, const grow::Recipe& recipe) {
  return recipe.width_factor == 1
             ? residual
             : residual.repeat({1, 1, recipe.width_factor});
}

// Residual streams and logits of all windows, worst of all; the layer is the
// first that exceeds the limit anywhere.
struct Comparison {
  double residual = 0;
  double logits = 0;
  int64_t first_layer = -1;
};

Comparison compare(const ParentRecord& parent, const grow::Recipe& recipe,
                   const Probe& probe, const Transformer& child,
                   Dispatch dispatch, Distance kind, double limit) {
  Comparison result;
  for (size_t i = 0; i < parent.windows.size(); ++i) {
    const WindowRecord& record = parent.windows[i];
    Trace trace;
    ForwardOptions options;
    options.trace = &trace;
    options.dispatch = dispatch;
    const at::Tensor logits = child.logits(probe.tokens[i], options);
    for (const LayerPair& pair : comparable_layers(recipe)) {
      const double d =
          distance(widened(record.trace.layers[pair.parent].residual, recipe),
                   trace.layers[pair.child].residual, kind);
      result.residual = worse(result.residual, d);
      const bool earlier =
          result.first_layer < 0 || pair.child < result.first_layer;
      if (!(d <= limit) && earlier) result.first_layer = pair.child;
    }
    if (recipe.exact) {
      result.logits =
          worse(result.logits, distance(record.logits, logits, kind));
    }
  }
  return result;
}

void add(std::vector<Verdict>& verdicts, const grow::Recipe& recipe,
         const Comparison& found, const std::string& how, double limit) {
  Verdict residual = at_most(kCheck, "residual stream of every layer, " + how,
                             found.residual, limit);
  residual.layer = found.first_layer;
  verdicts.push_back(residual);
  if (!recipe.exact) return;
  Verdict logits = at_most(kCheck, "logits, " + how, found.logits, limit);
  logits.layer = found.first_layer;
  verdicts.push_back(logits);
}

Verdict in_double(const ParentRecord& parent, const grow::Recipe& recipe,
                  const Probe& probe, const Transformer& child) {
  ForwardOptions options;
  options.double_arithmetic = true;
  double worst = 0;
  for (size_t i = 0; i < parent.double_logits.size(); ++i) {
    const at::Tensor logits = child.logits(probe.tokens[i], options);
    worst = worse(worst, relative_error(parent.double_logits[i], logits));
  }
  return at_most(kCheck, "logits, fp64 arithmetic", worst,
                 double_limit(recipe, child.dtype()));
}

}  // namespace

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble);
  const at::Tensor y = b.to(at::kDouble);
  return (x - y).norm().item<double>() / x.norm().item<double>();
}

std::vector<Verdict> functional_identity(const ParentRecord& parent,
                                         const grow::Recipe& recipe,
                                         const Probe& probe,
                                         const Transformer& child) {
  std::vector<Verdict> verdicts;
  const auto check = [&](Dispatch dispatch, Distance kind, double limit,
                         const std::string& how) {
    add(verdicts, recipe,
        compare(parent, recipe, probe, child, dispatch, kind, limit), how,
        limit);
  };
  const bool upcycled =
      !recipe.parent.is_mixture() && recipe.child.is_mixture();
  if (upcycled) {
    check(Dispatch::kFullBlock, Distance::kLargest, 0,
          "equal GEMM shapes, largest difference");
    check(Dispatch::kSorted, Distance::kRelative, kSingleLimit,
          "dispatch that trains");
  } else if (recipe.width_factor > 1) {
    check(Dispatch::kSorted, Distance::kRelative,
          child.dtype() == at::kDouble ? 1e-12 : kSingleLimit,
          child.dtype() == at::kDouble ? "fp64" : "fp32 arithmetic");
    verdicts.push_back(in_double(parent, recipe, probe, child));
  } else {
    check(Dispatch::kSorted, Distance::kLargest, 0, "largest difference");
  }
  return verdicts;
}

}  // namespace annuli::verify
