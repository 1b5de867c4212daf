#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels::cpu {

at::Tensor embedding_rows(const at::Tensor& table, const at::Tensor& tokens,
                          at::ScalarType type);

// dtable[tokens[n]] += drows[n], in the order of n. Both are of one type.
void add_embedding_rows(at::Tensor& dtable, const at::Tensor& tokens,
                        const at::Tensor& drows);

}  // namespace annuli::kernels::cpu
