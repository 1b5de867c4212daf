#include "annuli/kernels/quantize/weight_codes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ldexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/quantize/weight_codes.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

constexpr int64_t kLongest = 256;

int64_t blocks_of(int64_t columns) {
  const int64_t block = code_block(columns);
  return (columns + block - 1) / block;
}

void check_matrix(const at::Tensor& values) {
  ANNULI_CHECK(values.dim() == 2 && (values.scalar_type() == at::kFloat ||
                                     values.scalar_type() == at::kBFloat16),
               "codes of {}", words_of(values));
}

}  // namespace

int64_t code_block(int64_t columns) {
  int64_t block = columns;
  while (block > kLongest && block % 2 == 0) block /= 2;
  return block > kLongest ? kLongest : block;
}

int64_t coded_bytes(int64_t rows, int64_t columns) {
  return rows * (columns + blocks_of(columns));
}

CodedMatrix to_codes(const at::Tensor& values) {
  check_matrix(values);
  return is_plain(values) ? cpu::to_codes(values) : reference::to_codes(values);
}

void to_codes_at_random(const at::Tensor& values, const CounterRng& rng,
                        CodedMatrix& matrix) {
  ANNULI_CHECK(values.scalar_type() == at::kFloat &&
                   values.sizes() == matrix.codes.sizes(),
               "{} is rounded into {}", words_of(values),
               words_of(matrix.codes));
  if (is_plain(values) && is_plain(matrix.codes)) {
    cpu::to_codes_at_random(values, rng, matrix);
  } else {
    reference::to_codes_at_random(values, rng, matrix);
  }
}

void from_codes(const CodedMatrix& matrix, const at::Tensor& target) {
  check_matrix(target);
  ANNULI_CHECK(target.sizes() == matrix.codes.sizes(), "{} is widened into {}",
               words_of(matrix.codes), words_of(target));
  if (is_plain(target) && is_plain(matrix.codes)) {
    cpu::from_codes(matrix, target);
  } else {
    reference::from_codes(matrix, target);
  }
}

bool are_codes(const at::Tensor& values) {
  const CodedMatrix matrix = to_codes(values);
  const at::Tensor again = at::empty_like(values);
  from_codes(matrix, again);
  return values.equal(again);
}

at::Tensor code_steps(const at::Tensor& values) {
  const int64_t columns = values.size(1);
  const at::Tensor exponents =
      to_codes(values).exponents.repeat_interleave(code_block(columns), 1);
  const at::Tensor each = exponents.narrow(1, 0, columns);
  const at::Tensor steps = at::ldexp(at::ones(each.sizes(), at::kFloat), each);
  return at::where(steps <= 0x1p-126F, 0.0F, steps);
}

}  // namespace annuli::kernels
