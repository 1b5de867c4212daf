#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "annuli/core/rng.h"

// Weights as codes of 8 bits, in blocks with a scale.
//
// A matrix is cut into blocks along its rows. A block's scale is a power of
// two, 2^e, the smallest with which its entries of largest magnitude is at most
// 127; an entry is code 2^e, with a code of -127 .. 127. So
// - a value has 7 bits: it is a bf16 number, and the product with a scale is
//   exact in every type;
// - times a power of two it is the same code under another scale;
// - values that are codes of a block stay what they are when they are coded
//   again, alone or with others of that block, so a block of the child that
//   holds entries of one block of the parent, at one factor, is exact;
// - c + d and c - d, codes of one scale, have the mean c without rounding.
// Against a scale that is the largest entry over 127, a scale of a power of two
// is up to twice, on average 1.44 times as coarse. But it is seldom another one
// than the step before: were it, every entry of the block would be rounded
// anew in each step.
//
// A block with an entry that is not finite is NaN. Entries below 2^-126 of a
// block of such become 0.
namespace annuli::kernels {

// The length of the blocks of rows of so many entries, at most 256; the last of
// a row may be shorter. Of columns = o 2^k, o odd and at most 256, it is the
// largest o 2^j, so that rows of twice the length have blocks of the same
// length: the whole row, or 129 .. 256.
int64_t code_block(int64_t columns);

struct CodedMatrix {
  at::Tensor codes;      // int8 [rows, columns]
  at::Tensor exponents;  // int8 [rows, blocks of a row]
};

// Bytes of a coded matrix.
int64_t coded_bytes(int64_t rows, int64_t columns);

// values [rows, columns], fp32 or bf16: each entry becomes its nearest code, of
// two the even one. In owned memory.
CodedMatrix to_codes(const at::Tensor& values);

// values fp32: each entry becomes one of the two codes about it, the upper one
// with the probability of its distance from the lower one, to 2^-17; entries
// that are codes stay. How entry i falls is a function of (rng, i). Written
// into the matrix' own memory.
void to_codes_at_random(const at::Tensor& values, const CounterRng& rng,
                        CodedMatrix& matrix);

// target = the values; contiguous, fp32 or bf16.
void from_codes(const CodedMatrix& matrix, const at::Tensor& target);

// Whether `values` are what their codes say.
bool are_codes(const at::Tensor& values);

// values [rows, columns]: by entry the distance of neighbouring codes in its
// block, fp32; 0 where the block is zero.
at::Tensor code_steps(const at::Tensor& values);

namespace reference {
// The same bits, by operations on whole tensors; any device and strides.
CodedMatrix to_codes(const at::Tensor& values);
void to_codes_at_random(const at::Tensor& values, const CounterRng& rng,
                        CodedMatrix& matrix);
void from_codes(const CodedMatrix& matrix, const at::Tensor& target);
}  // namespace reference

}  // namespace annuli::kernels
