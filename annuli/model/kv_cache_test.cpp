#include "annuli/model/kv_cache.h"

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/support/tensor_checks.h"

namespace annuli {
namespace {

at::Tensor draw(int64_t T, const std::string& name) {
  return test::random_tensor({2, T, 3, 8}, name, at::kFloat);
}

TEST(KvCache, ReturnsAllThatWasAppended) {
  KvCache cache;
  std::vector<at::Tensor> keys, values;
  for (const int64_t T : {5, 1, 70, 1, 200, 3}) {
    keys.push_back(draw(T, "k" + std::to_string(T)));
    values.push_back(draw(T, "v" + std::to_string(T)));
    for (const int64_t layer : {0, 1}) {
      const auto [k, v] =
          cache.append(layer, keys.back() + layer, values.back() + layer);
      EXPECT_TRUE(test::same_bits(k, at::cat(keys, 1) + layer));
      EXPECT_TRUE(test::same_bits(v, at::cat(values, 1) + layer));
    }
    cache.advance(T);
  }
  EXPECT_EQ(cache.length(), 280);
}

// 1000 tokens one by one: 64, 128, ... 1024.
TEST(KvCache, GrowsByDoubling) {
  KvCache cache;
  std::set<const void*> places;
  for (int64_t t = 0; t < 1000; ++t) {
    cache.append(0, draw(1, "k"), draw(1, "v"));
    cache.advance(1);
    places.insert(cache.layer(0).keys.const_data_ptr());
  }
  EXPECT_EQ(cache.layer(0).keys.size(2), 1024);
  EXPECT_LE(places.size(), 5u);
}

TEST(KvCache, WritesWhereItWasTruncated) {
  KvCache cache;
  cache.append(0, draw(4, "k"), draw(4, "v"));
  cache.advance(4);
  cache.truncate(3);
  const auto [k, v] = cache.append(0, draw(1, "new"), draw(1, "v"));
  EXPECT_EQ(k.size(1), 4);
  EXPECT_TRUE(test::same_bits(k.narrow(1, 3, 1), draw(1, "new")));
  EXPECT_ANY_THROW(cache.truncate(9));
}

}  // namespace
}  // namespace annuli
