#include "annuli/kernels/cpu/normal_fill.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/random_words.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {
namespace {

constexpr int kBlocks = kRandomBlocks;  // at a time, four numbers each

// Natural logarithm of x in (0, 1]; the Cephes polynomial, 1 ulp.
inline float log_of(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  int32_t exponent = static_cast<int32_t>(bits >> 23) - 126;
  float m = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);
  const bool small = m < 0.707106781186547524f;
  exponent -= small ? 1 : 0;
  m = (small ? m + m : m) - 1.0f;
  const float z = m * m;
  float y = 7.0376836292e-2f;
  y = y * m - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = y * m * z;
  const float e = static_cast<float>(exponent);
  y += e * -2.12194440e-4f;
  y -= 0.5f * z;
  return m + y + e * 0.693359375f;
}

// sin and cos of 2 pi u, u in [0, 1): the octant is exact, the rest a Cephes
// polynomial on [-pi/4, pi/4].
inline void sin_cos_turns(float u, float& sine, float& cosine) {
  // lround is not a vector's. NOLINTNEXTLINE(bugprone-incorrect-roundings)
  const int32_t quadrant = static_cast<int32_t>(u * 4.0f + 0.5f);
  const float r =
      (u - 0.25f * static_cast<float>(quadrant)) * 6.283185307179586f;
  const float z = r * r;
  float s = -1.9515295891e-4f;
  s = s * z + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * r + r;
  float c = 2.443315711809948e-5f;
  c = c * z - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * z * z - 0.5f * z + 1.0f;
  const bool swap = (quadrant & 1) != 0;
  const float s0 = swap ? c : s;
  const float c0 = swap ? s : c;
  sine = (quadrant & 2) != 0 ? -s0 : s0;
  cosine = ((quadrant + 1) & 2) != 0 ? -c0 : c0;
}

// The same arithmetic on every processor; only the vector width differs.
ANNULI_CLONES_FOR("avx512f", "avx2", "default")
void box_muller(const RandomWords& words, float* __restrict out) {
  float radius[kBlocks];
  float cosine[kBlocks];
  float sine[kBlocks];
  for (int half = 0; half < 4; half += 2) {
    for (int i = 0; i < kBlocks; ++i) {
      // 24 bits each; the radius from (0, 1], the angle from [0, 1).
      const float u =
          (static_cast<float>(words.word[half][i] >> 8) + 1.0f) * 0x1.0p-24f;
      const float t =
          static_cast<float>(words.word[half + 1][i] >> 8) * 0x1.0p-24f;
      radius[i] = std::sqrt(std::max(0.0f, -2.0f * log_of(u)));
      sin_cos_turns(t, sine[i], cosine[i]);
    }
    for (int i = 0; i < kBlocks; ++i) {
      out[4 * i + half] = radius[i] * cosine[i];
      out[4 * i + half + 1] = radius[i] * sine[i];
    }
  }
}

}  // namespace

void normal_numbers(const CounterRng& rng, uint64_t first,
                    std::span<float> out) {
  ANNULI_CHECK(first % 4 == 0,
               "numbers from {} on; blocks begin at multiples of 4", first);
  RandomWords words;
  float numbers[4 * kBlocks];
  for (size_t done = 0; done < out.size();) {
    random_words(rng, (first + done) / 4, words);
    box_muller(words, numbers);
    const size_t n = std::min<size_t>(4 * kBlocks, out.size() - done);
    std::copy_n(numbers, n, out.begin() + static_cast<int64_t>(done));
    done += n;
  }
}

void cpu::fill_normal(at::Tensor& tensor, const CounterRng& rng, double std) {
  constexpr int64_t kGrain = 4 * kBlocks;
  const int64_t numel = tensor.numel();
  const int64_t pieces = (numel + kGrain - 1) / kGrain;
  AT_DISPATCH_FLOATING_TYPES(tensor.scalar_type(), "fill_normal", [&] {
    scalar_t* data = tensor.data_ptr<scalar_t>();
    at::parallel_for(0, pieces, 16, [&](int64_t begin, int64_t end) {
      float numbers[kGrain];
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t start = piece * kGrain;
        const int64_t n = std::min(kGrain, numel - start);
        normal_numbers(rng, start, {numbers, static_cast<size_t>(n)});
        for (int64_t i = 0; i < n; ++i) {
          data[start + i] = static_cast<scalar_t>(std * numbers[i]);
        }
      }
    });
  });
}

}  // namespace annuli::kernels
