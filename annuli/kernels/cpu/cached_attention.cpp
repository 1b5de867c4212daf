#include "annuli/kernels/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/vector_exp.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kKeys = 512;              // per block
constexpr int64_t kSerialFloats = 1 << 15;  // less needs no second thread

// What a block of keys gives for one query head: its greatest score, the sum
// of exp(score - greatest), and the values weighted with those.
struct Partial {
  float greatest;
  float sum;
};

// mixed[d] = sum over j of weights[j] values[j][d]; a part of the dimensions at
// a time, which stays in registers over all keys.
template <int64_t kWidth>
ANNULI_INLINE int64_t mix(const float* weights, const float* values, int64_t n,
                          int64_t hd, int64_t first, float* mixed) {
  int64_t d = first;
  for (; d + kWidth <= hd; d += kWidth) {
    float sum[kWidth] = {};
    for (int64_t j = 0; j < n; ++j) {
      const float* value = values + j * hd + d;
#pragma omp simd
      for (int64_t i = 0; i < kWidth; ++i) sum[i] += weights[j] * value[i];
    }
    std::copy_n(sum, kWidth, mixed + d);
  }
  return d;
}

// One query head over n keys; `mixed` [head_dim] receives the weighted values.
ANNULI_VECTOR_CLONES Partial attend(const float* q, const float* keys,
                                    const float* values, int64_t n, int64_t hd,
                                    float* mixed) {
  float scores[kKeys];
  const float scale = 1.0f / std::sqrt(static_cast<float>(hd));
  for (int64_t j = 0; j < n; ++j) {
    const float* key = keys + j * hd;
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t d = 0; d < hd; ++d) dot += q[d] * key[d];
    scores[j] = dot * scale;
  }
  float greatest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : greatest)
  for (int64_t j = 0; j < n; ++j) greatest = std::max(greatest, scores[j]);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    scores[j] = exp_nonpositive(scores[j] - greatest);
    sum += scores[j];
  }
  const int64_t wide = mix<64>(scores, values, n, hd, 0, mixed);
  mix<1>(scores, values, n, hd, mix<16>(scores, values, n, hd, wide, mixed),
         mixed);
  return {greatest, sum};
}

// One query, all its heads and blocks of keys.
struct Work {
  CachedQuery query;
  int64_t blocks;
  Partial* partials;  // [blocks, H]
  float* mixed;       // [blocks, H, head_dim]
};

// The heads that share kv head `k`, over one block of keys.
void run_block(const Work& work, int64_t block, int64_t k, int64_t H,
               int64_t group, int64_t hd) {
  const CachedQuery& query = work.query;
  const int64_t first = block * kKeys;
  const int64_t n = std::min(kKeys, query.length - first);
  const int64_t offset = (k * query.capacity + first) * hd;
  for (int64_t h = k * group; h < (k + 1) * group; ++h) {
    work.partials[block * H + h] =
        attend(query.q + h * hd, query.keys + offset, query.values + offset, n,
               hd, work.mixed + (block * H + h) * hd);
  }
}

// out = sum over the blocks of exp(greatest_b - greatest) mixed_b, over the
// same sum of sum_b.
void put_together(const Work& work, int64_t h, int64_t H, int64_t hd) {
  float greatest = work.partials[h].greatest;
  for (int64_t b = 1; b < work.blocks; ++b) {
    greatest = std::max(greatest, work.partials[b * H + h].greatest);
  }
  float* out = work.query.out + h * hd;
  std::fill(out, out + hd, 0.0f);
  float sum = 0;
  for (int64_t b = 0; b < work.blocks; ++b) {
    const Partial& partial = work.partials[b * H + h];
    const float weight = exp_nonpositive(partial.greatest - greatest);
    const float* mixed = work.mixed + (b * H + h) * hd;
    sum += weight * partial.sum;
    for (int64_t d = 0; d < hd; ++d) out[d] += weight * mixed[d];
  }
  for (int64_t d = 0; d < hd; ++d) out[d] /= sum;
}

}  // namespace

void cached_attention(std::span<const CachedQuery> queries, int64_t H,
                      int64_t K, int64_t head_dim) {
  ANNULI_CHECK(K > 0 && H % K == 0, "{} heads over {} kv heads", H, K);
  std::vector<Work> works;
  int64_t blocks = 0;
  int64_t keys = 0;
  for (const CachedQuery& query : queries) {
    ANNULI_CHECK(query.length >= 1 && query.length <= query.capacity,
                 "{} keys in a cache of {}", query.length, query.capacity);
    works.push_back({query, (query.length + kKeys - 1) / kKeys});
    blocks += works.back().blocks;
    keys += query.length;
  }
  std::vector<Partial> partials(blocks * H);
  std::vector<float> mixed(blocks * H * head_dim);
  std::vector<std::pair<const Work*, int64_t>> block_of;  // all works' blocks
  for (Work& work : works) {
    work.partials = partials.data() + block_of.size() * H;
    work.mixed = mixed.data() + block_of.size() * H * head_dim;
    for (int64_t b = 0; b < work.blocks; ++b) block_of.emplace_back(&work, b);
  }
  const auto run = [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const auto& [work, block] = block_of[i / K];
      run_block(*work, block, i % K, H, H / K, head_dim);
    }
  };
  if (keys * K * head_dim < kSerialFloats) {
    run(0, blocks * K);
  } else {
    at::parallel_for(0, blocks * K, 1, run);
  }
  for (const Work& work : works) {
    for (int64_t h = 0; h < H; ++h) put_together(work, h, H, head_dim);
  }
}

}  // namespace annuli::kernels
