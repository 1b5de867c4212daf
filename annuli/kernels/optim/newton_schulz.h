#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

// Nearly the orthogonal factor U V^T of a matrix U S V^T, as Muon takes it
// (Keller Jordan, 2024): the matrix over its Frobenius norm, or over `eps` if
// that is more, then five times
//   X <- (a I + b A + c A^2) X,   A = X X^T,   (a, b, c) = kNewtonSchulz
// It leaves singular vectors alone and takes each singular value s of the
// matrix over its norm to f(s), near 1 but for very small ones: f is odd, with
// the slope a^5 = 485 at 0. So of a matrix tiled p x q times, whose values over
// the norm are the same, it gives the tile over sqrt(p q).
namespace annuli::kernels {

inline constexpr double kNewtonSchulz[] = {3.4445, -4.7750, 2.0315};
inline constexpr int kNewtonSchulzSteps = 5;

// x [P, C], fp32 or fp64, becomes that. Where it is not nearly square: two
// products with x and 17 of m x m, m = min(P, C), because all five steps are
// polynomials of the first A. A then knows a small s only as s^2: a rounding of
// A, of size 1, moves f by up to max |(f(s) / s)'| / 2 = 35600 times as much,
// near s = 0.004, which in fp32 is 2e-3 (of bf16's products, which are common,
// it is 1e-2 and more). Nearly square ones take the steps one by one.
void orthogonalize(at::Tensor& x, double eps);

// Entries of the tensors that it holds at once, x among them.
std::vector<int64_t> orthogonalize_entries(int64_t rows, int64_t columns);

namespace reference {
// Step by step as above; any device.
void orthogonalize(at::Tensor& x, double eps);
}  // namespace reference

}  // namespace annuli::kernels
