#include "annuli/model/tensor_part.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

// By the names of every family's tensors, which nothing else here looks at.
TensorPart by_name(const TensorSpec& spec) {
  const std::string& name = spec.name;
  const auto has = [&](const char* word) {
    return name.find(word) != std::string::npos;
  };
  if (name.ends_with(".bias")) return TensorPart::kBiases;
  if (has("norm")) return TensorPart::kGains;
  if (has("embed_tokens") || has("embed_in")) return TensorPart::kEmbedding;
  if (has("lm_head") || has("embed_out")) return TensorPart::kHead;
  if (has("router") || has("shared_expert_gate") || has(".gate.")) {
    return TensorPart::kRouter;
  }
  if (has("attn") || has("attention")) return TensorPart::kAttention;
  return TensorPart::kFeedForward;
}

TEST(TensorPart, IsWhatATensorDoes) {
  std::map<TensorPart, int> seen;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    for (const TensorSpec& spec : tensor_table(tiny::config(flavour))) {
      EXPECT_EQ(tensor_part(spec), by_name(spec)) << spec.name;
      ++seen[tensor_part(spec)];
    }
  }
  EXPECT_EQ(seen.size(), EnumWords<TensorPart>::kWords.size());
}

}  // namespace
}  // namespace annuli
