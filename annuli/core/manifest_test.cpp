#include "annuli/core/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

using testing::ElementsAre;

class ManifestTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "sub");
    write_file_atomically(folder_ / "a", "aaa");
    write_file_atomically(folder_ / "sub" / "b", std::string(300'000, 'b'));
  }

  // a and sub/b, by their contents.
  Manifest noted() const {
    Manifest manifest("model");
    manifest.add_file(folder_, "a");
    manifest.add_file(folder_, "sub/b");
    return manifest;
  }
  IsOurs owned_by(const Manifest& manifest) const {
    return [this, &manifest](const std::string& path) {
      return manifest.owns(folder_, path);
    };
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST_F(ManifestTest, KnowsItsFilesAndNoOthers) {
  noted().save(folder_);
  const Manifest manifest = Manifest::load(folder_, "model");
  EXPECT_EQ(find_foreign(folder_, owned_by(manifest)), std::nullopt);
  write_file_atomically(folder_ / "sub" / "photo", "");
  EXPECT_EQ(find_foreign(folder_, owned_by(manifest)), "sub/photo");
  EXPECT_TRUE(Manifest::load(folder_ / "sub", "model").empty());
  EXPECT_TRUE(Manifest::load(folder_, "run").empty());
}

TEST_F(ManifestTest, AFileThatWasChangedIsNoMoreOurs) {
  const Manifest manifest = noted();
  for (const size_t at : {size_t{0}, size_t{70'000}, size_t{299'999}}) {
    std::string content(300'000, 'b');
    content[at] = 'x';
    write_file_atomically(folder_ / "sub" / "b", content);
    // What lies in the middle alone is not looked at.
    EXPECT_EQ(manifest.owns(folder_, "sub/b"), at == 70'000) << at;
  }
  write_file_atomically(folder_ / "a", "aaaa");
  EXPECT_FALSE(manifest.owns(folder_, "a"));
  Manifest by_name("run");
  by_name.add_name("a");
  EXPECT_TRUE(by_name.owns(folder_, "a"));
  fs::remove(folder_ / "a");
  fs::create_symlink("sub/b", folder_ / "a");
  EXPECT_FALSE(by_name.owns(folder_, "a")) << "a link instead of the file";
}

TEST_F(ManifestTest, RemovesWhatIsOursAndKeepsTheRest) {
  const Manifest manifest = noted();
  manifest.save(folder_);
  fs::create_directory(folder_ / "empty");
  fs::create_symlink("a", folder_ / "link");
  EXPECT_THAT(paths_below(folder_),
              ElementsAre(Manifest::kName, "a", "empty/", "link", "sub/b"));
  remove_ours(folder_, owned_by(manifest));
  EXPECT_THAT(paths_below(folder_), ElementsAre("empty/", "link"));
  remove_ours(folder_ / "missing", owned_by(manifest));
}

TEST_F(ManifestTest, AnotherProgramsIsRefused) {
  for (const char* content :
       {"", "[]", "{}", R"({"format_version": 2, "of": "model", "files": {}})",
        R"({"format_version": 1, "files": {}})",
        R"({"format_version": 1, "of": "model", "files": 3})"}) {
    write_file_atomically(folder_ / Manifest::kName, content);
    EXPECT_THROW(Manifest::load(folder_, "model"), UserError) << content;
  }
}

}  // namespace
}  // namespace annuli
