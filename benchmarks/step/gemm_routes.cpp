#include "benchmarks/step/gemm_routes.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <chrono>
#include <limits>

// Exported by libtorch_cpu.so without a header: MKL's mkl_cblas.h has it.
// Layout, transpositions: 101 row-major, 111 as it is, 112 transposed.
extern "C" void cblas_gemm_bf16bf16f32(int layout, int transpose_a,
                                       int transpose_b, int m, int n, int k,
                                       float alpha, const void* a, int lda,
                                       const void* b, int ldb, float beta,
                                       float* c, int ldc);

namespace annuli::bench {
namespace {

constexpr int kRowMajor = 101;
constexpr int kPlain = 111;
constexpr int kTransposed = 112;

// c [m, n] = a b, either of them taken transposed as the strides say.
void wide_product(const at::Tensor& a, const at::Tensor& b, at::Tensor& c,
                  float beta) {
  const auto transposed = [](const at::Tensor& x) { return x.stride(1) != 1; };
  const auto leading = [&](const at::Tensor& x) {
    return static_cast<int>(x.stride(transposed(x) ? 1 : 0));
  };
  cblas_gemm_bf16bf16f32(
      kRowMajor, transposed(a) ? kTransposed : kPlain,
      transposed(b) ? kTransposed : kPlain, static_cast<int>(a.size(0)),
      static_cast<int>(b.size(1)), static_cast<int>(a.size(1)), 1.0F,
      a.const_data_ptr(), leading(a), b.const_data_ptr(), leading(b), beta,
      c.mutable_data_ptr<float>(), static_cast<int>(c.stride(0)));
}

// The two factors of a product, in order.
std::pair<at::Tensor, at::Tensor> factors(Product product,
                                          const Operands& operands) {
  switch (product) {
    case Product::kForward:
      return {operands.input, operands.weight.t()};
    case Product::kInputGradient:
      return {operands.output_gradient, operands.weight};
    case Product::kWeightGradient:
      break;
  }
  return {operands.output_gradient.t(), operands.input};
}

}  // namespace

at::Tensor GemmRoutes::result(at::IntArrayRef shape, at::ScalarType dtype) {
  const int64_t numel = shape[0] * shape[1];
  at::Tensor& pool = pool_[dtype];
  if (!pool.defined() || pool.numel() < numel) {
    pool = at::empty({numel}, at::TensorOptions(dtype)).zero_();
  }
  return pool.narrow(0, 0, numel).view(shape);
}

void GemmRoutes::run_by(Route route, Product product, const Operands& operands,
                        bool accumulate) {
  const auto [a, b] = factors(product, operands);
  const bool wide = route == Route::kWideOutput;
  at::Tensor c = result({a.size(0), b.size(1)}, wide ? at::kFloat : dtype_);
  if (wide) {
    wide_product(a, b, c, accumulate ? 1.0F : 0.0F);
  } else if (accumulate) {
    c.addmm_(a, b);
  } else {
    at::mm_out(c, a, b);
  }
}

double GemmRoutes::time(Route route, Product product,
                        const Operands& operands) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::infinity();
  run_by(route, product, operands, false);
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    run_by(route, product, operands, false);
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::min(best, seconds.count());
  }
  return best;
}

double GemmRoutes::prepare(Product product, const Operands& operands) {
  const ShapeKey key{product, operands.weight.size(1), operands.weight.size(0)};
  const std::pair<ShapeKey, int64_t> with_rows{key, operands.input.size(0)};
  const auto known = prepared_.find(with_rows);
  if (known != prepared_.end()) return known->second;
  double seconds = 0;
  if (const auto found = chosen_.find(key); found != chosen_.end()) {
    seconds = time(found->second, product, operands);
  } else {
    seconds = time(Route::kAten, product, operands);
    chosen_[key] = Route::kAten;
    if (dtype_ == at::kBFloat16) {
      const double wide = time(Route::kWideOutput, product, operands);
      if (wide < seconds) chosen_[key] = Route::kWideOutput;
      seconds = std::min(seconds, wide);
    }
  }
  return prepared_[with_rows] = seconds;
}

void GemmRoutes::run(Product product, const Operands& operands,
                     bool accumulate) {
  const ShapeKey key{product, operands.weight.size(1), operands.weight.size(0)};
  run_by(chosen_.at(key), product, operands, accumulate);
}

}  // namespace annuli::bench
