#include "annuli/kernels/quantize/weight_codes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/frexp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ldexp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "annuli/kernels/quantize/code_range.h"
#include "annuli/kernels/quantize/stochastic_rounding.h"

namespace annuli::kernels::reference {
namespace {

// [rows, blocks, block], zeros beyond a row's end.
at::Tensor in_blocks(const at::Tensor& rows) {
  const int64_t columns = rows.size(1);
  const int64_t block = code_block(columns);
  const int64_t blocks = (columns + block - 1) / block;
  return at::constant_pad_nd(rows, {0, blocks * block - columns}, 0)
      .view({rows.size(0), blocks, block});
}

at::Tensor in_rows(const at::Tensor& blocks, int64_t columns) {
  return blocks.flatten(1).narrow(1, 0, columns);
}

// int32 [rows, blocks]
at::Tensor exponents_of(const at::Tensor& values) {
  const at::Tensor largest = in_blocks(values).abs().amax(2);
  const at::Tensor exponents =
      at::where(largest == 0, at::full_like(largest, kLeastExponent),
                std::get<1>(at::frexp(largest)).to(at::kFloat).sub(7))
          .clamp(kLeastExponent, kLargestExponent)
          .to(at::kInt);
  const at::Tensor most =
      at::ldexp(at::full_like(largest, kLargestCode), exponents);
  const at::Tensor found = exponents + (largest > most).to(at::kInt);
  const at::Tensor sound = largest.isfinite() & (found <= kLargestExponent);
  return at::where(sound, found, at::full_like(found, kNotFinite));
}

// Values in units of their block's scale; 1 where it is not finite.
at::Tensor in_units(const at::Tensor& values, const at::Tensor& exponents) {
  const at::Tensor each = exponents.unsqueeze(2);
  const at::Tensor units = at::ldexp(in_blocks(values), -each);
  return in_rows(at::where(each == kNotFinite, at::ones_like(units), units),
                 values.size(1));
}

at::Tensor random_numbers(const CounterRng& rng, const at::Tensor& like) {
  at::Tensor numbers = at::empty({like.numel()}, at::kFloat);
  auto* to = numbers.mutable_data_ptr<float>();
  Noise noise;
  for (int64_t i = 0; i < like.numel(); ++i) {
    const int64_t in_chunk = i % kNoiseEntries;
    if (in_chunk == 0) random_bits(rng, Operand::kWeight, i, noise);
    to[i] = (static_cast<float>(noise.bits[in_chunk]) + 0.5F) * 0x1p-16F;
  }
  return numbers.view(like.sizes()).to(like.device());
}

}  // namespace

CodedMatrix to_codes(const at::Tensor& values) {
  const at::Tensor wide = values.to(at::kFloat);
  const at::Tensor exponents = exponents_of(wide);
  return {in_units(wide, exponents).round().to(at::kChar).contiguous(),
          exponents.to(at::kChar)};
}

void to_codes_at_random(const at::Tensor& values, const CounterRng& rng,
                        CodedMatrix& matrix) {
  const at::Tensor exponents = exponents_of(values);
  const at::Tensor units = in_units(values, exponents);
  matrix.codes.copy_((units + random_numbers(rng, units)).floor());
  matrix.exponents.copy_(exponents);
}

void from_codes(const CodedMatrix& matrix, const at::Tensor& target) {
  const at::Tensor each = matrix.exponents.to(at::kInt).unsqueeze(2);
  const at::Tensor values =
      at::ldexp(in_blocks(matrix.codes.to(at::kFloat)), each);
  const at::Tensor sound = at::where(
      each == kNotFinite,
      at::full_like(values, std::numeric_limits<float>::quiet_NaN()), values);
  target.copy_(in_rows(sound, target.size(1)));
}

}  // namespace annuli::kernels::reference
