#include "annuli/kernels/cached_attention.h"

#include <ATen/ops/full.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "annuli/kernels/attention.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;
using test::same_bits;

struct Shape {
  int64_t H;
  int64_t K;
  int64_t hd;
  int64_t length;
};

// Plain, grouped, one kv head; odd sizes; one key, and several blocks.
const std::vector<Shape> kShapes = {{4, 4, 64, 1},   {4, 4, 64, 37},
                                    {6, 2, 12, 100}, {5, 1, 7, 513},
                                    {4, 2, 32, 512}, {2, 2, 80, 1500}};

// Entries scaled so that scores spread over tens: the softmax is not flat.
at::Tensor draw(at::IntArrayRef shape, const char* name) {
  return random_tensor(shape, name, at::kFloat) * 3;
}

// keys and values are [K, capacity, hd], the rest of the memory NaN.
struct Memory {
  Shape shape;
  at::Tensor q, keys, values, out;

  explicit Memory(const Shape& s, const char* name = "q")
      : shape(s),
        q(draw({s.H, s.hd}, name)),
        keys(padded(draw({s.K, s.length, s.hd}, "k"))),
        values(padded(draw({s.K, s.length, s.hd}, "v"))),
        out(at::zeros({s.H, s.hd}, at::kFloat)) {}

  at::Tensor padded(const at::Tensor& x) const {
    at::Tensor all = at::full({shape.K, shape.length + 5, shape.hd},
                              std::numeric_limits<float>::quiet_NaN(),
                              at::TensorOptions(at::kFloat));
    all.narrow(1, 0, shape.length).copy_(x);
    return all;
  }
  CachedQuery query() {
    return {.q = q.const_data_ptr<float>(),
            .keys = keys.const_data_ptr<float>(),
            .values = values.const_data_ptr<float>(),
            .length = shape.length,
            .capacity = shape.length + 5,
            .out = out.mutable_data_ptr<float>()};
  }
  at::Tensor run() {
    const CachedQuery one = query();
    cached_attention({&one, 1}, shape.H, shape.K, shape.hd);
    return out;
  }
  at::Tensor expected() const {
    const auto seen = [&](const at::Tensor& x) {
      return x.narrow(1, 0, shape.length)
          .transpose(0, 1)
          .unsqueeze(0)
          .to(at::kDouble);
    };
    return reference::causal_attention(
               q.view({1, 1, shape.H, shape.hd}).to(at::kDouble), seen(keys),
               seen(values))
        .view({shape.H, shape.hd});
  }
};

// A score is a sum of head_dim products of 9 (the entries have deviation 3)
// over sqrt(head_dim): partial sums of 9 sqrt(head_dim) round head_dim times,
// which makes 9 sqrt(head_dim) u, and we grant 4 deviations. What a score is
// off by, a weight is off by relatively; the exponential adds 2 u, the sum over
// the keys sqrt(length) u.
double tolerance(const Shape& s) {
  const double score = 36 * std::sqrt(static_cast<double>(s.hd));
  return (score + 2 + std::sqrt(static_cast<double>(s.length))) * 0x1p-24;
}

TEST(CachedAttention, AgreesWithReference) {
  for (const Shape& shape : kShapes) {
    Memory memory(shape);
    EXPECT_LE(relative_error(memory.run(), memory.expected()), tolerance(shape))
        << shape.H << "/" << shape.K << " x " << shape.hd << ", "
        << shape.length;
  }
}

// The control: one key that is missed, or heads that read another kv head.
TEST(CachedAttention, TheToleranceSeesALostKeyAndAWrongHead) {
  for (const Shape& shape : kShapes) {
    if (shape.length < 2) continue;
    Memory memory(shape);
    const at::Tensor expected = memory.expected();
    // The key that matters most to head 0.
    const at::Tensor scores = at::mv(
        memory.keys.select(0, 0).narrow(0, 0, shape.length), memory.q[0]);
    memory.keys.select(0, 0).select(0, scores.argmax().item<int64_t>()).zero_();
    EXPECT_GT(relative_error(memory.run(), expected), 100 * tolerance(shape));
    if (shape.K == 1) continue;
    Memory other(shape);
    other.keys.copy_(other.keys.flip(0));
    EXPECT_GT(relative_error(other.run(), expected), 100 * tolerance(shape));
  }
}

TEST(CachedAttention, SameBitsForAnyThreadCountAndCompany) {
  for (const Shape& shape : kShapes) {
    Memory a(shape, "a");
    Memory b({shape.H, shape.K, shape.hd, shape.length + 3}, "b");
    set_num_threads(1);
    const at::Tensor one = a.run().clone();
    set_num_threads(2);
    EXPECT_TRUE(same_bits(a.run(), one));
    a.out.zero_();
    const std::vector<CachedQuery> both = {b.query(), a.query()};
    cached_attention(both, shape.H, shape.K, shape.hd);
    EXPECT_TRUE(same_bits(a.out, one));
    EXPECT_TRUE(same_bits(b.out.clone(), b.run()));
  }
}

}  // namespace
}  // namespace annuli::kernels
