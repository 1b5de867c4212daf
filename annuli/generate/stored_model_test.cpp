#include "annuli/generate/stored_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "annuli/checkpoint/pt_file.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"
#include "annuli/generate/decode_weights.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

class StoredModel : public testing::Test {
 protected:
  void SetUp() override {
    save_pt(model_, pt_);
    save_folder(model_, folder_ / "hf");
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
  const fs::path pt_ = folder_ / "model.pt";
  const Transformer model_ =
      tiny::model(tiny::config({.mixture = true, .gated = true}), at::kFloat);
};

TEST_F(StoredModel, IsAsStoredByDefault) {
  for (const fs::path& path : {pt_, folder_ / "hf"}) {
    for (const bool in_memory : {false, true}) {
      const Transformer loaded =
          load_stored_model(ModelFile(path), {.in_memory = in_memory});
      EXPECT_TRUE(decoding::readable(loaded));
      for (size_t row = 0; row < model_.table().size(); ++row) {
        EXPECT_TRUE(test::same_bits(loaded.weight(row), model_.weight(row)));
      }
    }
  }
}

TEST_F(StoredModel, RoundsToBf16WhereAsked) {
  for (const fs::path& path : {pt_, folder_ / "hf"}) {
    const Transformer loaded =
        load_stored_model(ModelFile(path), {.dtype = at::kBFloat16});
    EXPECT_EQ(loaded.dtype(), at::kFloat);
    EXPECT_TRUE(decoding::readable(loaded));
    for (size_t row = 0; row < model_.table().size(); ++row) {
      EXPECT_EQ(loaded.weight(row).scalar_type(), at::kBFloat16);
      EXPECT_TRUE(test::same_bits(loaded.weight(row),
                                  model_.weight(row).to(at::kBFloat16)));
    }
  }
}

// bf16 on disk: read as it is, or widened.
TEST_F(StoredModel, WidensWhereAsked) {
  Transformer narrow(model_.config(), at::kFloat);
  for (size_t row = 0; row < model_.table().size(); ++row) {
    narrow.set_stored_weight(row, model_.weight(row).to(at::kBFloat16));
  }
  save_folder(narrow, folder_ / "bf16");
  const ModelFile file(folder_ / "bf16");
  EXPECT_EQ(load_stored_model(file).weight(0).scalar_type(), at::kBFloat16);
  const Transformer wide = load_stored_model(file, {.dtype = at::kFloat});
  EXPECT_TRUE(test::same_bits(
      wide.weight(0), model_.weight(0).to(at::kBFloat16).to(at::kFloat)));
}

TEST_F(StoredModel, Fp64IsComputedInFp64) {
  const ModelFile file(pt_);
  EXPECT_EQ(load_stored_model(file, {.dtype = at::kDouble}).dtype(),
            at::kDouble);
  save_pt(tiny::model(tiny::config(), at::kDouble), folder_ / "f64.pt");
  EXPECT_EQ(load_stored_model(ModelFile(folder_ / "f64.pt")).dtype(),
            at::kDouble);
}

TEST_F(StoredModel, RefusesFilesWithFaults) {
  write_pt(folder_ / "empty.pt", {}, to_json(model_.config()));
  EXPECT_THROW(load_stored_model(ModelFile(folder_ / "empty.pt")), UserError);
}

// All its tensors are there, and it is another model than its config says: the
// head that is stored is not the embedding that it claims to be.
TEST_F(StoredModel, RefusesAFolderThatIsAnotherModel) {
  const Transformer untied =
      tiny::model(tiny::config({.tied = false}), at::kFloat);
  save_folder(untied, folder_ / "untied");
  Json config = read_json(folder_ / "untied/config.json");
  config["tie_word_embeddings"] = true;
  write_json(folder_ / "untied/config.json", config);
  for (const bool in_memory : {false, true}) {
    EXPECT_THAT(
        [&] {
          load_stored_model(ModelFile(folder_ / "untied"),
                            {.in_memory = in_memory});
        },
        ::testing::ThrowsMessage<UserError>(
            ::testing::HasSubstr("differs from the embedding")));
  }
}

}  // namespace
}  // namespace annuli
