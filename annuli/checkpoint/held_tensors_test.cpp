#include "annuli/checkpoint/held_tensors.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using testing::HasSubstr;

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(HeldTensors, AreHandedOutAsTheyAre) {
  const at::Tensor matrix = at::rand({3, 4}).t();
  HeldTensors held("in memory", {{"a", matrix}});
  EXPECT_EQ(held.tensor("a").data_ptr(), matrix.data_ptr());
  EXPECT_FALSE(held.tensor("a").is_contiguous());
  EXPECT_EQ(held.entry("a").shape, (std::vector<int64_t>{4, 3}));
  held.drop_resident();
  held.check_data();
}

TEST(HeldTensors, LetGoOneByOne) {
  HeldTensors held("in memory", {{"a", at::ones({2})}, {"b", at::ones({2})}});
  held.release("a");
  EXPECT_TRUE(held.contains("a"));
  EXPECT_THROW(held.tensor("a"), CheckFailure);
  EXPECT_EQ(held.tensor("b").numel(), 2);
}

TEST(HeldTensors, NameThatIsThereTwice) {
  EXPECT_THAT(
      refusal([] {
        HeldTensors("in memory", {{"a", at::ones({2})}, {"a", at::ones({2})}});
      }),
      HasSubstr("in memory: tensor 'a' is there twice"));
}

// A model in memory is what its folder would be.
TEST(HeldTensors, ModelFile) {
  const Transformer model = tiny::model(tiny::config(), at::kFloat);
  const auto file_of = [&](std::vector<NamedTensor> tensors) {
    return ModelFile(to_json(model.config()),
                     std::make_unique<HeldTensors>("in memory", tensors));
  };
  const ModelFile file = file_of(named_weights(model));
  EXPECT_EQ(file.format(), "memory");
  EXPECT_TRUE(file.faults().empty());
  EXPECT_EQ(content_hash(file), content_hash(model));
  std::vector<NamedTensor> fewer = named_weights(model);
  const std::string missing = fewer.back().name;
  fewer.pop_back();
  EXPECT_THAT(refusal([&] { require_sound(file_of(fewer), "growing"); }),
              HasSubstr("growing in memory: tensor '" + missing));
}

}  // namespace
}  // namespace annuli
