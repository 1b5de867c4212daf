#pragma once

#include <array>
#include <string_view>

// The activations of feed-forward layers by name: what plans and models say,
// and what kernels/activation_formulas.h computes. A line of this list and a
// formula there are all that an activation is.
namespace annuli {

// gelu is the exact one, by erf; relu2 is relu(x)^2.
#define ANNULI_ACTIVATIONS(ONE) \
  ONE(kGelu, "gelu")            \
  ONE(kSilu, "silu")            \
  ONE(kRelu2, "relu2")

#define ANNULI_NAME(NAME, WORD) NAME,
enum class Activation { ANNULI_ACTIVATIONS(ANNULI_NAME) };
#undef ANNULI_NAME

#define ANNULI_WORD(NAME, WORD) std::string_view(WORD),
inline constexpr auto kActivationWords =
    std::to_array({ANNULI_ACTIVATIONS(ANNULI_WORD)});
#undef ANNULI_WORD

}  // namespace annuli
