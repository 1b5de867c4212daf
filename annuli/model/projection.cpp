#include "annuli/model/projection.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <vector>

namespace annuli {
namespace {

// Entries of a weight that are widened at once: 64 MiB in fp64.
constexpr int64_t kEntries = int64_t{1} << 23;

at::Tensor rows_of(const at::Tensor& x, int64_t begin, int64_t count) {
  return x.defined() ? x.narrow(0, begin, count) : x;
}

}  // namespace

at::Tensor project(const at::Tensor& x, const at::Tensor& weight,
                   const at::Tensor& bias) {
  const at::ScalarType arithmetic = x.scalar_type();
  if (weight.scalar_type() == arithmetic) return at::linear(x, weight, bias);
  const int64_t out = weight.size(0);
  const int64_t rows = std::max<int64_t>(1, kEntries / weight.size(1));
  const at::Tensor wide_bias = bias.defined() ? bias.to(arithmetic) : bias;
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < out; begin += rows) {
    const int64_t count = std::min(rows, out - begin);
    pieces.push_back(at::linear(x,
                                weight.narrow(0, begin, count).to(arithmetic),
                                rows_of(wide_bias, begin, count)));
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, /*dim=*/-1);
}

}  // namespace annuli
