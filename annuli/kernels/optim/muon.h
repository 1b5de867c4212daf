#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/rng.h"

// Muon (Keller Jordan, 2024): descent along the orthogonal factor of the
// momentum, torch.optim.Muon's arithmetic but for its products, which are in
// bf16 there:
//   m = momentum m + (1 - momentum) g
//   u = momentum m + (1 - momentum) g                      (Nesterov)
//   p -= decay p + learning_rate orthogonal(u)             (newton_schulz.h)
namespace annuli::kernels {

// The least norm of u that is divided by.
inline constexpr double kMuonEps = 1e-7;

struct MuonStep {
  double learning_rate;  // with the factor that the shape asks for
  double momentum;
  double decay;           // learning rate times weight decay
  double eps;             // kMuonEps; other for what growth has scaled
  double gradient_scale;  // g is multiplied by this first (clipping)
  // Matrices in one tensor: `rows` rows of the first, then of the second ...,
  // and again. Each has an orthogonal factor of its own.
  int64_t matrices = 1;
  int64_t rows = 0;
  CounterRng rounding{0, uint64_t{0}};  // as AdamwStep's
};

// Of a matrix. Types, return value and guarantees are those of adamw, but for
// the threads: the bits are those of the library's products. Two passes, and
// the products between them, all in fp32 or fp64.
double muon(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
            const MuonStep& step);

// Calls f(matrix) -> changes it, of each matrix that `x` holds.
template <typename F>
void for_each_matrix(at::Tensor& x, const MuonStep& step, const F& f) {
  if (step.matrices == 1) return f(x);
  const int64_t columns = x.size(1);
  const at::Tensor apart = x.view({-1, step.matrices, step.rows, columns});
  for (int64_t i = 0; i < step.matrices; ++i) {
    at::Tensor part = apart.select(1, i);
    at::Tensor matrix = part.reshape({-1, columns});
    f(matrix);
    part.copy_(matrix.reshape(part.sizes()));
  }
}

namespace reference {
double muon(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
            const MuonStep& step);
}

}  // namespace annuli::kernels
