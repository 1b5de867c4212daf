#include "annuli/config/model_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/hub_cache.h"

namespace annuli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A cache with the model acme/tiny, and a folder to stand in.
class ModelPath : public ::testing::Test {
 protected:
  ModelPath() : before_(fs::current_path()) {
    fs::create_directories(root_ / "here");
    setenv("HF_HUB_CACHE", root_.c_str(), 1);
    snapshot_ = root_ / "models--acme--tiny/snapshots/0123";
    fs::create_directories(root_ / "models--acme--tiny/refs");
    write(root_ / "models--acme--tiny/refs/main", "0123");
    write(snapshot_ / "config.json");
    fs::current_path(root_ / "here");
  }
  ~ModelPath() override {
    fs::current_path(before_);
    unsetenv("HF_HUB_CACHE");
  }

  static void write(const fs::path& path, const std::string& text = "{}") {
    fs::create_directories(path.parent_path());
    write_file_atomically(path, text);
  }

  static std::string refusal(const fs::path& given) {
    try {
      find_model(given);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  fs::path before_;
  const test::TestFolder scratch_;
  const fs::path& root_ = scratch_.path();
  fs::path snapshot_;
};

TEST_F(ModelPath, AnIdIsTheSnapshotOfTheCache) {
  for (const char* name :
       {"acme/tiny", "https://huggingface.co/acme/tiny", "hf://acme/tiny",
        "hf://acme/tiny@0123", "https://hf.co/acme/tiny/tree/main"}) {
    EXPECT_EQ(find_model(name), snapshot_) << name;
  }
  EXPECT_EQ(find_model(root_ / "models--acme--tiny"), snapshot_);
}

TEST_F(ModelPath, WhatIsHereComesFirst) {
  fs::create_directories("acme/tiny");
  EXPECT_EQ(find_model("acme/tiny"), "acme/tiny");
}

TEST_F(ModelPath, APartOfAFolderIsTheFolder) {
  write("m/config.json");
  for (const char* name :
       {"model.safetensors", "model-00001-of-00002.safetensors",
        "model.safetensors.index.json", "pytorch_model.bin",
        "tokenizer.json"}) {
    write(fs::path("m") / name);
    EXPECT_EQ(find_model(fs::path("m") / name), "m") << name;
  }
  EXPECT_EQ(find_model("m/config.json"), "m");
  write("m/other.pt");
  EXPECT_EQ(find_model("m/other.pt"), "m/other.pt");
  write("alone/model.safetensors");
  EXPECT_EQ(find_model("alone/model.safetensors"), "alone/model.safetensors");
}

TEST_F(ModelPath, WhatIsNowhereSaysHowItIsHad) {
  EXPECT_THAT(
      refusal("acme/large"),
      AllOf(HasSubstr("no such file or folder"), HasSubstr(root_.string()),
            HasSubstr("`hf download acme/large`")));
  EXPECT_THAT(refusal("hf://acme/tiny@v2"),
              HasSubstr("`hf download acme/tiny --revision v2`"));
  EXPECT_THAT(refusal("https://huggingface.co/acme/large"),
              HasSubstr("`hf download acme/large`"));
  EXPECT_THAT(refusal("https://example.org/a/b"), HasSubstr("an address"));
  EXPECT_THAT(refusal("~/model"), HasSubstr("outside quotes"));
  EXPECT_THAT(refusal("runs/none.pt"),
              AllOf(HasSubstr("no such file"), Not(HasSubstr("download"))));
  fs::create_symlink("nowhere", "link");
  EXPECT_THAT(refusal("link"), HasSubstr("leads to nowhere"));
}

TEST_F(ModelPath, ARepositoryWithoutItsBranchHasOneSnapshotOrIsRefused) {
  const fs::path repository = root_ / "models--acme--tiny";
  fs::remove(repository / "refs/main");
  EXPECT_EQ(find_model(repository), snapshot_);
  fs::create_directories(repository / "snapshots/4567");
  EXPECT_THAT(refusal(repository), HasSubstr("refs/main"));
  EXPECT_THAT(refusal("acme/tiny"), HasSubstr("hf download"));
}

}  // namespace
}  // namespace annuli
