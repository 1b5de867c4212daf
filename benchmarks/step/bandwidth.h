#pragma once

#include <cstdint>

namespace annuli::bench {

// Bytes a second, read and written together, of a loop over memory that no
// cache holds: four arrays read and three of them written back, as AdamW does
// with weight, gradient and two moments, and next to no arithmetic. All
// threads; the best of some passes.
double measure_bandwidth();

// What AdamW in fp32 must move for each parameter: 16 bytes in, 12 out.
inline constexpr int64_t kAdamwBytes = 28;

}  // namespace annuli::bench
