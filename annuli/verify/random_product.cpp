#include "annuli/verify/random_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::verify {
namespace {

constexpr int64_t kEntries = int64_t{1} << 21;  // 16 MB of fp64

}  // namespace

at::Tensor random_input(const std::string& name, int64_t size) {
  at::Tensor r = at::empty({size}, at::kDouble);
  kernels::fill_normal(r, CounterRng(0, "sketch/" + name), 1);
  return r;
}

at::Tensor in_double(const at::Tensor& tensor) {
  return tensor.detach().cpu().to(at::kDouble);
}

at::Tensor product(const at::Tensor& tensor, int64_t contracted,
                   const at::Tensor& r) {
  const int64_t count = std::max<int64_t>(1, kEntries / tensor.size(1));
  std::vector<at::Tensor> pieces;
  at::Tensor sum;
  for (int64_t begin = 0; begin < tensor.size(0); begin += count) {
    const int64_t rows = std::min(count, tensor.size(0) - begin);
    const at::Tensor block = in_double(tensor.narrow(0, begin, rows));
    if (contracted == 1) {
      pieces.push_back(block.matmul(r));
    } else {
      const at::Tensor part = block.t().matmul(r.narrow(0, begin, rows));
      sum = sum.defined() ? sum + part : part;
    }
  }
  return contracted == 1 ? at::cat(pieces) : sum;
}

double against_rms(const at::Tensor& difference, const at::Tensor& expected) {
  const double largest = difference.abs().max().item<double>();
  const double rms = std::sqrt(expected.square().mean().item<double>());
  return rms > 0 ? largest / rms : largest;
}

}  // namespace annuli::verify
