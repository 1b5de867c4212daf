#include "annuli/verify/new_entries.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "annuli/grow/transforms/drop.h"
#include "annuli/grow/transforms/fill.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/grow/transforms/random_router.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {
namespace {

// A fault of a thing that has no size: twice its limit.
constexpr double kFault = 2;

double eps_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return 0x1p-10;
    case at::kBFloat16:
      return 0x1p-7;
    default:
      // fp64 routers are projected along a mean that was measured in fp32.
      return std::numeric_limits<float>::epsilon();
  }
}

struct RouterDraw {
  int64_t rows;
  int64_t width;
};

double rms(const at::Tensor& tensor) {
  return tensor.to(at::kDouble).norm().item<double>() /
         std::sqrt(static_cast<double>(tensor.numel()));
}

// |cos| of the worst row with the mean activation.
double mean_overlap(const at::Tensor& router, const at::Tensor& mean) {
  const at::Tensor rows = router.cpu().to(at::kDouble);
  const at::Tensor unit = mean.cpu().to(at::kDouble);
  const at::Tensor norms = rows.norm(2, {1}) * unit.norm();
  return (rows.mv(unit) / norms).abs().max().item<double>();
}

// The rms of n independent normal numbers lies within 6 standard errors,
// 6 / sqrt(2 n), of their deviation. A direction taken out of every row lowers
// a router's rms by 1 / (2 D) at most, relative. A deviation of 0 is one that
// nobody stated.
double deviation_fault(const at::Tensor& router, double asked,
                       const RouterDraw& draw) {
  if (asked == 0) return 0;
  const double standard_errors =
      6 / std::sqrt(2 * static_cast<double>(draw.rows * draw.width));
  return std::abs(rms(router) / asked - 1) /
         (standard_errors + 1 / (2 * static_cast<double>(draw.width)));
}

// Rows of centroids are of one length, and no longer than what makes logits as
// large as those of random rows: their tokens' cosines are not smaller than
// those of random directions, 1 / sqrt(D) on average. (An equal length to
// rounding, sqrt(D) eps of it.)
double centroid_fault(const at::Tensor& router, double asked) {
  const at::Tensor norms = router.cpu().to(at::kDouble).norm(2, {1});
  const double longest = norms.max().item<double>();
  const double shortest = norms.min().item<double>();
  if (longest == 0) return kFault;
  const auto D = static_cast<double>(router.size(1));
  const double apart = (longest - shortest) / longest /
                       (2 * std::sqrt(D) * eps_of(router.scalar_type()));
  return asked == 0 ? apart
                    : worse(apart, longest / (2 * asked * std::sqrt(D)));
}

// Where they are known: the centroids times the deviation, laid out, each entry
// rounded once or twice.
double distance_from_centroids(const grow::TensorRecipe& recipe,
                               const at::Tensor& router, double asked,
                               const at::Tensor& centroids) {
  at::Tensor expected = asked * centroids.cpu().to(at::kDouble);
  for (size_t d = 0; d < recipe.dimensions.size(); ++d) {
    expected =
        lay_out(expected, static_cast<int64_t>(d), recipe.dimensions[d].slices);
  }
  const at::Tensor difference = router.cpu().to(at::kDouble) - expected;
  return difference.abs().max().item<double>() /
         (eps_of(router.scalar_type()) * expected.abs().max().item<double>());
}

// What was drawn, before rows were shared and columns tiled.
RouterDraw draw_of(const grow::TensorRecipe& recipe, const at::Tensor& router,
                   int64_t equal_rows) {
  const auto copies = [&](size_t dimension) {
    return recipe.dimensions.empty() ? 1 : recipe.dimensions[dimension].copies;
  };
  return {router.size(0) / std::max(copies(0), equal_rows),
          router.size(1) / copies(1)};
}

// The direction in a router that was widened after it was drawn.
at::Tensor laid_out(const grow::TensorRecipe& recipe, const at::Tensor& mean) {
  return recipe.dimensions.empty()
             ? mean
             : lay_out(mean, 0, recipe.dimensions[1].slices);
}

}  // namespace

// Some of the tensor's new entries may be what a transform put there.
bool draws_entries(const grow::TensorRecipe& recipe) {
  return recipe.find<grow::Fill>() != nullptr ||
         recipe.find<grow::Drop>() != nullptr ||
         std::ranges::any_of(recipe.steps, draws_entries);
}

double zero_fault(const at::Tensor& tensor) {
  return tensor.abs().max().item<double>() == 0 ? 0 : kFault;
}

// The shards of one copy share a row, copies of an expert and of a column too:
// they must be equal, or they would not be chosen together.
double shared_entries_fault(const grow::TensorRecipe& recipe,
                            const at::Tensor& router) {
  if (recipe.dimensions.empty()) return 0;
  at::Tensor expected = router;
  for (int64_t d = 0; d < 2; ++d) {
    const auto from = sources(recipe.dimensions[d].slices);
    std::map<int64_t, int64_t> first;
    std::vector<int64_t> index;
    for (size_t i = 0; i < from.size(); ++i) {
      const auto entry = static_cast<int64_t>(i);
      index.push_back(first.emplace(from[i], entry).first->second);
    }
    expected = expected.index_select(d, at::tensor(index).to(router.device()));
  }
  return zero_fault(router - expected);
}

// Stored rounded, a row keeps an overlap with the mean below D eps / 2.
double router_fault(const grow::TensorRecipe& recipe, const at::Tensor& router,
                    const at::Tensor& mean, int64_t equal_rows) {
  const auto* drawn = recipe.find<grow::RandomRouter>();
  const double asked = drawn == nullptr ? 0 : drawn->std * recipe.scale;
  if (drawn != nullptr && drawn->centroids && mean.defined()) {
    return worse(distance_from_centroids(recipe, router, asked, mean),
                 shared_entries_fault(recipe, router));
  }
  double fault =
      drawn != nullptr && drawn->centroids
          ? centroid_fault(router, asked)
          : deviation_fault(router, asked, draw_of(recipe, router, equal_rows));
  fault = worse(fault, shared_entries_fault(recipe, router));
  if (!mean.defined()) return fault;
  const auto D = static_cast<double>(router.size(1));
  const double limit = D * eps_of(router.scalar_type()) / 2;
  return worse(fault, mean_overlap(router, laid_out(recipe, mean)) / limit);
}

double fresh_fault(const grow::TensorRecipe& recipe, const at::Tensor& drawn,
                   double initializer_range) {
  const auto* fresh = recipe.find<grow::Fresh>();
  if (fresh->values == FirstValues::kOne) return zero_fault(drawn - 1);
  return deviation_fault(drawn, initializer_range,
                         {drawn.size(0), drawn.size(1)});
}

double new_entries_fault(const Demands& demands, size_t row,
                         const grow::TensorRecipe& recipe,
                         const at::Tensor& tensor) {
  double fault = 0;
  const bool is_drawn = draws_entries(recipe);
  for (size_t d = 0; d < recipe.dimensions.size(); ++d) {
    const bool zero = !is_drawn || demands.new_entries_are_zero(row, d);
    int64_t begin = 0;
    for (const grow::Slice& slice : recipe.dimensions[d].slices) {
      if (slice.is_new() && zero) {
        const auto dim = static_cast<int64_t>(d);
        fault =
            worse(fault, zero_fault(tensor.narrow(dim, begin, slice.length)));
      }
      begin += slice.length;
    }
  }
  return fault;
}

}  // namespace annuli::verify
