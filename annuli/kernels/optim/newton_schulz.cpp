#include "annuli/kernels/optim/newton_schulz.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/product.h"
#include "annuli/kernels/symmetric_product.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

// p = a I + b A + c A^2
void make_polynomial(at::Tensor& p, const at::Tensor& gram) {
  const auto [a, b, c] = kNewtonSchulz;
  multiply_symmetric(p, gram, gram);
  p.mul_(c).add_(gram, b);
  p.diagonal().add_(a);
}

// The product of the steps' polynomials. The A of the next step is P A P; all
// of these commute, so that every product is symmetric.
at::Tensor product_of_steps(at::Tensor gram) {
  at::Tensor p = at::empty_like(gram);
  at::Tensor work = at::empty_like(gram);
  at::Tensor product = at::empty_like(gram);
  for (int step = 1;; ++step) {
    make_polynomial(p, gram);
    if (step == 1) {
      product.copy_(p);
    } else {
      multiply_symmetric(work, p, product);
      std::swap(work, product);
    }
    if (step == kNewtonSchulzSteps) return product;
    multiply_symmetric(work, p, gram);
    multiply_symmetric(gram, p, work);
  }
}

// The square of what is wide or tall.
at::Tensor gram_of(const at::Tensor& x, bool wide) {
  const int64_t size = wide ? x.size(0) : x.size(1);
  at::Tensor gram = at::empty({size, size}, x.options());
  multiply_symmetric(gram, wide ? x : x.t(), wide ? x.t() : x);
  return gram;
}

void apply(const at::Tensor& square, bool wide, at::Tensor& x) {
  at::Tensor result = at::empty_like(x);
  multiply(result, wide ? square : x, wide ? x : square);
  x = std::move(result);
}

void make_steps(at::Tensor& x, bool wide) {
  for (int step = 0; step < kNewtonSchulzSteps; ++step) {
    const at::Tensor gram = gram_of(x, wide);
    at::Tensor p = at::empty_like(gram);
    make_polynomial(p, gram);
    apply(p, wide, x);
  }
}

// Where a product with x costs hardly more than one of squares, so many of
// those cost more than the steps.
bool is_nearly_square(int64_t rows, int64_t columns) {
  return 8 * std::max(rows, columns) <= 9 * std::min(rows, columns);
}

}  // namespace

std::vector<int64_t> orthogonalize_entries(int64_t rows, int64_t columns) {
  const int64_t all = rows * columns;
  const int64_t side = std::min(rows, columns);
  const int64_t square = side * side;
  if (is_nearly_square(rows, columns)) return {all, all, square, square};
  if (all > 3 * square) return {all, all, square};
  return {all, square, square, square, square};
}

void orthogonalize(at::Tensor& x, double eps) {
  ANNULI_CHECK(x.dim() == 2, "the orthogonal factor of {}", words_of(x));
  if (!is_plain(x)) return reference::orthogonalize(x, eps);
  const at::NoGradGuard no_grad;
  x.mul_(1 / std::max(std::sqrt(squared_norm(x)), eps));
  const bool wide = x.size(0) <= x.size(1);
  if (is_nearly_square(x.size(0), x.size(1))) {
    make_steps(x, wide);
  } else {
    apply(product_of_steps(gram_of(x, wide)), wide, x);
  }
}

}  // namespace annuli::kernels
