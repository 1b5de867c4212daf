#include "annuli/core/gguf_types.h"

#include <algorithm>
#include <array>

#include "annuli/core/error.h"

namespace annuli::gguf {
namespace {

constexpr Type other(uint32_t number) { return static_cast<Type>(number); }

constexpr auto kTypes = std::to_array<TypeTraits>({
    {Type::kF32, "f32", 1, 4},      {Type::kF16, "f16", 1, 2},
    {Type::kBf16, "bf16", 1, 2},    {Type::kQ8_0, "q8_0", 32, 34},
    {Type::kQ4_0, "q4_0", 32, 18},  {Type::kQ4K, "q4_K", 256, 144},
    {Type::kQ5K, "q5_K", 256, 176}, {Type::kQ6K, "q6_K", 256, 210},
    {other(3), "q4_1", 32, 0},      {other(6), "q5_0", 32, 0},
    {other(7), "q5_1", 32, 0},      {other(9), "q8_1", 32, 0},
    {other(10), "q2_K", 256, 0},    {other(11), "q3_K", 256, 0},
    {other(15), "q8_K", 256, 0},    {other(16), "iq2_xxs", 256, 0},
    {other(17), "iq2_xs", 256, 0},  {other(18), "iq3_xxs", 256, 0},
    {other(19), "iq1_s", 256, 0},   {other(20), "iq4_nl", 32, 0},
    {other(21), "iq3_s", 256, 0},   {other(22), "iq2_s", 256, 0},
    {other(23), "iq4_xs", 256, 0},  {other(24), "i8", 1, 0},
    {other(25), "i16", 1, 0},       {other(26), "i32", 1, 0},
    {other(27), "i64", 1, 0},       {other(28), "f64", 1, 0},
    {other(29), "iq1_m", 256, 0},   {other(34), "tq1_0", 256, 0},
    {other(35), "tq2_0", 256, 0},   {other(39), "mxfp4", 32, 0},
});

}  // namespace

const TypeTraits* find_type(uint32_t number) {
  const auto found =
      std::ranges::find(kTypes, other(number), &TypeTraits::type);
  return found == kTypes.end() ? nullptr : &*found;
}

const TypeTraits& traits_of(Type type) {
  const TypeTraits* traits = find_type(static_cast<uint32_t>(type));
  ANNULI_CHECK(traits != nullptr, "no type of ggml has the number {}",
               static_cast<uint32_t>(type));
  return *traits;
}

int64_t bytes_of(Type type, int64_t count) {
  const TypeTraits& traits = traits_of(type);
  ANNULI_CHECK(count % traits.block == 0, "{} numbers of {}", count,
               traits.name);
  return count / traits.block * traits.bytes;
}

}  // namespace annuli::gguf
