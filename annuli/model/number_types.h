#pragma once

#include <c10/core/ScalarType.h>

#include "annuli/config/plan.h"

// Which numbers a model is made of.
namespace annuli {

struct NumberTypes {
  // Everything but weights and the operands of products: the residual stream,
  // norms, attention, router, softmax and loss. fp32 or fp64.
  at::ScalarType arithmetic = at::kFloat;
  // Weights as they are stored and trained: the arithmetic's type, or bf16.
  at::ScalarType weights = at::kFloat;
  // What a training step rounds the operands of the projections' and the
  // head's products to, forward and backward: the arithmetic's type, or bf16.
  // Sums stay in the arithmetic's type.
  at::ScalarType products = at::kFloat;
  // Matrices of the layers, but routers, are held as codes of 8 bits
  // (coded_weights.h), whose values are bf16: `weights` is bf16.
  bool coded = false;

  NumberTypes() = default;
  // One type for all; bf16 has arithmetic in fp32.
  NumberTypes(at::ScalarType type)  // NOLINT: a type is the plainest such set
      : arithmetic(type == at::kBFloat16 ? at::kFloat : type),
        weights(type),
        products(type) {}

  bool operator==(const NumberTypes&) const = default;
};

NumberTypes number_types(Precision precision);

}  // namespace annuli
