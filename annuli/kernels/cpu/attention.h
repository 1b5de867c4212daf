#pragma once

#include "annuli/kernels/attention.h"

// Of attention.h on the host. Shapes are checked.
namespace annuli::kernels::cpu {

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table);

// Whether the own kernel runs on this processor and is the faster one.
bool attention_pays(const at::Tensor& q, const at::Tensor& k);

// An undefined `rotary` turns nothing. With `documents` T = S.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, const RotaryTable& rotary,
                     at::ScalarType out, const at::Tensor& documents);

}  // namespace annuli::kernels::cpu
