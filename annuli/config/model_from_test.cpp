#include "annuli/config/model_from.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;

class ModelFrom : public ::testing::Test {
 protected:
  ModelFrom() {
    ModelConfig config;
    config.num_hidden_layers = 5;
    config.rope_theta = 500;
    write_json(folder_ / "config.json", to_json(config));
  }

  std::string yaml(const std::string& model, const std::string& phase = "") {
    return fmt::format(
        "name: p\ndata: {{text: [a.txt]}}\nmodel: {{from: {}{}}}\n"
        "phases:\n  - name: one\n{}"
        "    train: {{max_steps: 1, learning_rate: 1, batch_size: 1}}\n",
        folder_.string(), model, phase);
  }

  std::string complaint(const std::string& text) {
    try {
      parse_plan(text, "plan.yaml");
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST_F(ModelFrom, SizesAreTheFoldersAndTheTokenizerIfItHasOne) {
  Plan plan = parse_plan(yaml(""), "plan.yaml");
  EXPECT_EQ(plan.model.num_hidden_layers, 5);
  EXPECT_EQ(plan.model.rope_theta, 500);
  EXPECT_EQ(plan.tokenizer, "bytes");
  write_file_atomically(folder_ / "tokenizer.json", "{}");
  plan = parse_plan(yaml(""), "plan.yaml");
  EXPECT_EQ(plan.tokenizer, folder_.string());
  plan = parse_plan("tokenizer: bytes\n" + yaml(""), "plan.yaml");
  EXPECT_EQ(plan.tokenizer, "bytes");
  EXPECT_EQ(parse_plan(to_yaml(plan), "again.yaml"), plan);
}

TEST_F(ModelFrom, AFieldMustAgree) {
  EXPECT_EQ(complaint(yaml(", num_hidden_layers: 5")), "");
  EXPECT_THAT(complaint(yaml(", num_hidden_layers: 6")),
              HasSubstr("model.num_hidden_layers: found 6"));
}

TEST_F(ModelFrom, TheFirstPhaseMayGrowAndIsChecked) {
  EXPECT_EQ(complaint(yaml("", "    grow: {widen: {factor: 2}}\n")), "");
  EXPECT_THAT(complaint(yaml("", "    grow: {deepen: {layer_map: [0, 9]}}\n")),
              HasSubstr("found layer 9"));
}

TEST_F(ModelFrom, WhatIsNotThereIsSaid) {
  fs::remove_all(folder_);
  EXPECT_THAT(complaint(yaml("")), HasSubstr("no such file or folder"));
}

}  // namespace
}  // namespace annuli
