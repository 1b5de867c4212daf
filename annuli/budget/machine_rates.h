#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string_view>

// What a machine does in a second: this one, by a probe of about a second, or
// another one, as somebody says. Measured rates are those of the moment: other
// work on the machine lowers them.
namespace annuli::budget {

struct MachineRates {
  double product_flops = 0;  // of a matrix product in a layer's shapes
  double memory_bytes = 0;   // read and written by a pass over large arrays
  bool are_given = false;    // said, not measured
};

// "300T,2TB": operations of matrix products, with K, M, G, T or P for powers of
// 1000, and bytes of memory. Nothing if it is no such text.
std::optional<MachineRates> parse_rates(std::string_view text);

// operands: what products are computed in, fp32, fp64 or bf16.
MachineRates measure_rates(at::ScalarType operands);

// What the process holds before a plan asks for anything, once matrix products
// have run: the program, LibTorch, and the matrix library's buffers.
int64_t program_bytes();

}  // namespace annuli::budget
