#include "annuli/core/rng.h"

#include <cmath>
#include <numbers>

namespace annuli {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;

}  // namespace

uint64_t stream_id(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (unsigned char c : name) {
    hash = (hash ^ c) * 0x100000001b3ULL;
  }
  return hash;
}

CounterRng::CounterRng(uint64_t seed, std::string_view stream)
    : CounterRng(seed, stream_id(stream)) {}

std::array<uint32_t, 4> CounterRng::block(uint64_t counter) const {
  uint32_t c0 = static_cast<uint32_t>(counter);
  uint32_t c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream_);
  uint32_t c3 = static_cast<uint32_t>(stream_ >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed_);
  uint32_t k1 = static_cast<uint32_t>(seed_ >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

uint64_t CounterRng::bits(uint64_t i) const {
  const auto words = block(i / 2);
  const size_t half = (i % 2) * 2;
  return words[half] | static_cast<uint64_t>(words[half + 1]) << 32;
}

double CounterRng::uniform(uint64_t i) const {
  return static_cast<double>(bits(i) >> 11) * 0x1.0p-53;
}

uint64_t CounterRng::below(uint64_t i, uint64_t n) const {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(bits(i)) * n >>
                               64);
}

double CounterRng::normal(uint64_t i) const {
  const auto words = block(i);
  const uint64_t a = words[0] | static_cast<uint64_t>(words[1]) << 32;
  const uint64_t b = words[2] | static_cast<uint64_t>(words[3]) << 32;
  // (0, 1]: the logarithm must not see zero.
  const double radius_uniform = (static_cast<double>(a >> 11) + 1) * 0x1.0p-53;
  const double angle_uniform = static_cast<double>(b >> 11) * 0x1.0p-53;
  return std::sqrt(-2 * std::log(radius_uniform)) *
         std::cos(2 * std::numbers::pi * angle_uniform);
}

}  // namespace annuli
