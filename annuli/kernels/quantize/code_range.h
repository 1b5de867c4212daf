#pragma once

#include <cstdint>

// The numbers of weight_codes.h that both of its folders use.
namespace annuli::kernels {

inline constexpr float kLargestCode = 127;
inline constexpr int kLeastExponent = -126;  // of a block of zeros too
inline constexpr int kLargestExponent = 120;
inline constexpr int kNotFinite = 127;  // in an exponent's place

}  // namespace annuli::kernels
