#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <set>
#include <tuple>

// The fastest way that LibTorch has for each matrix product of a step.
//
// A linear layer y = x W^T gives three products, all of rows * in * out
// multiply-adds. fp32 runs in MKL. bf16 has two routes: oneDNN, which writes
// bf16, and MKL's cblas_gemm_bf16bf16f32, which writes fp32; which one is
// faster depends on product and shape, so it is measured, once for each
// (product, in, out).
namespace annuli::bench {

enum class Product { kForward, kInputGradient, kWeightGradient };
enum class Route { kAten, kWideOutput };

// Operands of all three products. `input` and `output_gradient` are [rows, in]
// and [rows, out], `weight` [out, in].
struct Operands {
  at::Tensor input;
  at::Tensor weight;
  at::Tensor output_gradient;
};

class GemmRoutes {
 public:
  // `dtype`: at::kFloat or at::kBFloat16.
  explicit GemmRoutes(at::ScalarType dtype) : dtype_(dtype) {}

  // Runs the product by the route chosen. `accumulate` adds to the product that
  // stood in the result: for weight gradients of one chunk after another.
  void run(Product product, const Operands& operands, bool accumulate = false);

  // Chooses routes for these operands where none is chosen yet, and lets
  // oneDNN compile what it compiles for a new shape: nothing of that is left to
  // the timed run. Returns the best seconds of the product.
  double prepare(Product product, const Operands& operands);

 private:
  using ShapeKey = std::tuple<Product, int64_t, int64_t>;  // in, out

  void run_by(Route route, Product product, const Operands& operands,
              bool accumulate);
  double time(Route route, Product product, const Operands& operands);
  at::Tensor result(at::IntArrayRef shape, at::ScalarType dtype);

  at::ScalarType dtype_;
  std::map<ShapeKey, Route> chosen_;
  std::map<std::pair<ShapeKey, int64_t>, double> prepared_;  // with rows
  std::map<at::ScalarType, at::Tensor> pool_;  // results, never read
};

}  // namespace annuli::bench
