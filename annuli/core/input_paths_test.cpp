#include "annuli/core/input_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

// t/ is what would be replaced; what else there is lies outside of it.
class InputPathsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(root_ / "t" / "sub");
    fs::create_directories(root_ / "model");
    fs::create_directories(root_ / "linked");
    std::ofstream(root_ / "t" / "a.txt") << "a";
    std::ofstream(root_ / "model" / "config.json") << "{}";
    fs::create_symlink("t", root_ / "link");
    fs::create_symlink("link", root_ / "second");
    fs::create_symlink("../model", root_ / "t" / "out");
    fs::create_symlink("../t/a.txt", root_ / "linked" / "a.txt");
    fs::create_symlink("../t", root_ / "linked" / "folder");
    fs::create_hard_link(root_ / "t" / "a.txt", root_ / "hard.txt");
  }

  bool refused(const fs::path& input, const fs::path& target) const {
    InputPaths inputs;
    inputs.add("the text", input);
    try {
      inputs.keep_out_of(target, "growing");
      return false;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith("growing: the text "));
      return true;
    }
  }

  const test::TestFolder scratch_;
  const fs::path& root_ = scratch_.path();
};

TEST_F(InputPathsTest, WhatLiesInOrIsReachedThroughTheTarget) {
  for (const char* input :
       {"t", "t/", "t/.", "t/a.txt", "t/sub", "link", "link/a.txt", "second",
        "model/../t/a.txt", "t/sub/../../model", "t/out/config.json",
        "linked/a.txt", "linked/folder", "linked/folder/a.txt"}) {
    EXPECT_TRUE(refused(root_ / input, root_ / "t")) << input;
    EXPECT_TRUE(refused(root_ / input, root_ / "t/")) << input;
    EXPECT_TRUE(refused(root_ / input, root_ / "model/../t")) << input;
  }
  EXPECT_TRUE(refused(root_ / "linked", root_ / "t"))
      << "a folder whose file is a link into the target";
}

TEST_F(InputPathsTest, WhatLiesBesideOrAboveIsNoMatter) {
  fs::remove(root_ / "linked" / "a.txt");
  for (const char* input :
       {"model", "model/config.json", "", "t/../model", "link/../model",
        "linked", "hard.txt", "missing", "t/missing/x"}) {
    const bool through = std::string(input).find("t/") == 0 ||
                         std::string(input).find("link/") == 0;
    EXPECT_EQ(refused(root_ / input, root_ / "t"),
              through && fs::exists(root_ / input))
        << input;
  }
  EXPECT_FALSE(refused(root_ / "t", root_ / "missing"));
}

TEST_F(InputPathsTest, RelativePathsFromWithinTheTarget) {
  const fs::path before = fs::current_path();
  fs::current_path(root_ / "t" / "sub");
  EXPECT_TRUE(refused("../a.txt", root_ / "t"));
  EXPECT_TRUE(refused(".", ".."));
  EXPECT_FALSE(refused(root_ / "model", "../../t"));
  fs::current_path(before);
}

TEST_F(InputPathsTest, AFileIsToldByItsFolderAndName) {
  EXPECT_TRUE(refused(root_ / "link" / "a.txt", root_ / "t" / "a.txt"));
  EXPECT_TRUE(refused(root_ / "linked", root_ / "t" / "a.txt"));
  EXPECT_TRUE(refused(root_ / "second", root_ / "link"));
  EXPECT_FALSE(refused(root_ / "hard.txt", root_ / "t" / "a.txt"));
  EXPECT_FALSE(refused(root_ / "t", root_ / "t" / "a.txt"));
}

TEST_F(InputPathsTest, LinksInACircleEnd) {
  fs::create_symlink("circle", root_ / "circle");
  EXPECT_FALSE(refused(root_ / "circle" / "x", root_ / "t"));
}

}  // namespace
}  // namespace annuli
