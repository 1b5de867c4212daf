#pragma once

#include <cstdint>

namespace annuli::parallel {

// What is sent at once of many tensors laid end to end, by all processes
// together.
inline constexpr int64_t kBucketBytes = 32 << 20;

}  // namespace annuli::parallel
