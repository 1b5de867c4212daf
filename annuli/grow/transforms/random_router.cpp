#include "annuli/grow/transforms/random_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/outer.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/grow/row_source.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::grow {

at::Tensor random_router(at::IntArrayRef shape, double std,
                         const at::Tensor& mean, const CounterRng& rng,
                         at::ScalarType dtype) {
  ANNULI_CHECK(shape.size() == 2, "a router of {} dimensions", shape.size());
  at::Tensor rows = at::empty(shape, at::kDouble);  // [E, D]
  kernels::fill_normal(rows, rng, std);
  if (mean.defined() && mean.dim() == 2) {
    ANNULI_CHECK(mean.size(1) == shape[1],
                 "directions of {} entries for a router of {}", mean.size(1),
                 shape[1]);
    const at::Tensor directions = mean.detach().to(at::kCPU, at::kDouble);
    rows.sub_(rows.matmul(directions.t()).matmul(directions));
    // What is taken out of D squares is made up by those that are left.
    const auto D = static_cast<double>(mean.size(1));
    rows.mul_(std::sqrt(D / (D - static_cast<double>(mean.size(0)))));
  } else if (mean.defined()) {
    ANNULI_CHECK(mean.dim() == 1 && mean.size(0) == shape[1],
                 "a mean of {} entries for a router of {}", mean.numel(),
                 shape[1]);
    const at::Tensor direction = mean.detach().to(at::kCPU, at::kDouble);
    const double norm = at::linalg_vector_norm(direction).item<double>();
    if (norm > 0) {
      const at::Tensor unit = direction / norm;
      rows.sub_(at::outer(at::mv(rows, unit), unit));
    }
  }
  at::Tensor router = kernels::owned_empty(shape, dtype);
  router.copy_(rows);
  return router;
}

std::string RandomRouter::in_words() const {
  return centroids ? "centroids" : "drawn";
}

RowSourcePtr RandomRouter::on_rows(RowSourcePtr rows,
                                   const RowContext& context) const {
  const TensorRecipe& line = context.line;
  if (line.source != Source::kRandomRouter) return rows;
  ANNULI_CHECK(context.router_mean.defined() || !(needs_mean || centroids),
               "{} without a mean activation", line.child);
  if (centroids) {
    ANNULI_CHECK(context.router_mean.sizes() == at::IntArrayRef(line.shape),
                 "{} of other centroids", line.child);
    at::Tensor router = kernels::owned_empty(line.shape, context.dtype);
    router.copy_(context.router_mean.to(at::kCPU, at::kDouble) * std);
    return held_source(router);
  }
  return held_source(random_router(line.shape, std, context.router_mean,
                                   CounterRng(context.seed, line.stream),
                                   context.dtype));
}

bool RandomRouter::carries_state() const { return false; }

bool RandomRouter::changes_layer(const TensorRecipe& line) const {
  return false;
}

void RandomRouter::write(const RandomRouter* stated, Json& line) {
  line["router_std"] = stated == nullptr ? 0.0 : stated->std;
  line["needs_mean"] = stated != nullptr && stated->needs_mean;
  if (stated != nullptr && stated->centroids) line["centroids"] = true;
}

TransformPtr RandomRouter::read(const Json& line) {
  const auto std = line.at("router_std").get<double>();
  const auto needs_mean = line.at("needs_mean").get<bool>();
  const bool is_drawn =
      line.at("source").get<std::string>() == to_string(Source::kRandomRouter);
  if (!is_drawn && std == 0 && !needs_mean) return nullptr;
  return std::make_shared<RandomRouter>(std, needs_mean,
                                        line.value("centroids", false));
}

}  // namespace annuli::grow
