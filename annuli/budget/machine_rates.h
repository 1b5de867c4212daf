#pragma once

#include <c10/core/ScalarType.h>

// What this machine does in a second, by a probe of about a second. Rates are
// those of the moment: other work on the machine lowers them.
namespace annuli::budget {

struct MachineRates {
  double product_flops = 0;  // of a matrix product in a layer's shapes
  double memory_bytes = 0;   // read and written by a pass over large arrays
};

// operands: what products are computed in, fp32, fp64 or bf16.
MachineRates measure_rates(at::ScalarType operands);

// What the process holds before a plan asks for anything, once matrix products
// have run: the program, LibTorch, and the matrix library's buffers.
int64_t program_bytes();

}  // namespace annuli::budget
