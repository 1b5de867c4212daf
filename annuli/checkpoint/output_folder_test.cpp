#include "annuli/checkpoint/output_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/shards.h"
#include "annuli/checkpoint/test_files.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) {
    names.push_back(item.path().filename().string());
  }
  return names;
}

TEST(OutputFolder, AppearsWithCommitAndNotBefore) {
  const test::TestFolder base;
  OutputFolder out(base / "model", false);
  write_file_atomically(out.folder() / "config.json", "{}");
  EXPECT_FALSE(fs::exists(base / "model"));
  out.commit();
  EXPECT_EQ(read_file(base / "model" / "config.json"), "{}");
  EXPECT_THAT(names_in(base.path()), ::testing::ElementsAre("model"));
}

TEST(OutputFolder, LeavesNothingWithoutCommit) {
  const test::TestFolder base;
  {
    OutputFolder out(base / "model", false);
    write_file_atomically(out.folder() / "config.json", "{}");
  }
  EXPECT_TRUE(fs::is_empty(base.path()));
}

// What a growth leaves, of these contents.
void make_model(const fs::path& path, const std::string& content = "old") {
  OutputFolder out(path, false);
  write_file_atomically(out.folder() / "config.json", content);
  fs::create_directory(out.folder() / "more");
  write_file_atomically(out.folder() / "more" / "stale", content);
  out.commit();
}

TEST(OutputFolder, AnExistingFolderIsRefusedOrReplaced) {
  const test::TestFolder base;
  make_model(base / "model");
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "model", false); }),
              HasSubstr("--force"));
  OutputFolder out(base / "model/", true);
  write_file_atomically(out.folder() / "config.json", "new");
  EXPECT_EQ(read_file(base / "model" / "config.json"), "old");
  out.commit();
  EXPECT_EQ(read_file(base / "model" / "config.json"), "new");
  EXPECT_FALSE(fs::exists(base / "model" / "more"));
  EXPECT_THAT(names_in(base.path()), ::testing::ElementsAre("model"));
  OutputFolder(base / "model", true).commit();
  EXPECT_FALSE(fs::exists(base / "model" / "config.json")) << "once more";
}

TEST(OutputFolder, WhatSomebodyElseMadeIsNeverReplaced) {
  const std::vector<std::pair<std::string, std::string>> theirs = {
      {"cat.jpg", "cat"},           {"more/cat.jpg", "cat"},
      {"config.json", "changed"},   {"more/stale", "older"},
      {"more/.hidden", ""},         {"pytorch_model.bin", "weights"},
      {"checkpoint-500/state", "x"}};
  for (const auto& [name, content] : theirs) {
    const test::TestFolder base;
    make_model(base / "model");
    fs::create_directories((base / "model" / name).parent_path());
    test::write_raw(base / "model" / name, content);
    EXPECT_THAT(
        test::user_error_of([&] { OutputFolder(base / "model", true); }),
        HasSubstr("its " + name + " is not"));
    EXPECT_EQ(read_file(base / "model" / name), content);
    EXPECT_THAT(names_in(base.path()), ::testing::ElementsAre("model"));
  }
}

TEST(OutputFolder, AFolderWithoutAManifestIsNotOurs) {
  const test::TestFolder base;
  fs::create_directory(base / "photos");
  test::write_raw(base / "photos" / "config.json", "{}");
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "photos", true); }),
              HasSubstr("its config.json is not"));
  EXPECT_THAT(
      test::user_error_of([&] { OutputFolder(base / "photos", false); }),
      HasSubstr("annuli did not make it (it holds config.json)"));
  fs::create_directories(base / "nested" / "empty");
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "nested", true); }),
              HasSubstr("its empty/ is not"));
}

TEST(OutputFolder, WhatComesInMeanwhileStays) {
  const test::TestFolder base;
  make_model(base / "model");
  OutputFolder out(base / "model", true);
  test::write_raw(base / "model" / "cat.jpg", "cat");
  EXPECT_THAT(test::user_error_of([&] { out.commit(); }), HasSubstr("cat.jpg"));
  EXPECT_EQ(read_file(base / "model" / "cat.jpg"), "cat");
  EXPECT_EQ(read_file(base / "model" / "config.json"), "old");
}

TEST(OutputFolder, AnEmptyFolderIsTaken) {
  const test::TestFolder base;
  fs::create_directory(base / "model");
  make_model(base / "model");
  EXPECT_EQ(read_file(base / "model" / "config.json"), "old");
  EXPECT_THAT(names_in(base.path()), ::testing::ElementsAre("model"));
}

TEST(OutputFolder, MissingFoldersAboveAreMadeAndGoWithIt) {
  const test::TestFolder base;
  fs::create_directory(base / "a");
  OutputFolder(base / "a" / "b" / "c" / "model", false);
  EXPECT_TRUE(fs::is_empty(base / "a"));
  make_model(base / "a" / "b" / "model");
  EXPECT_TRUE(fs::exists(base / "a" / "b" / "model" / "config.json"));
}

TEST(OutputFolder, OtherThingsThanAFolderAreRefusedEachInItsWords) {
  const test::TestFolder base;
  test::write_raw(base / "file", "");
  fs::create_symlink("nowhere", base / "dangling");
  fs::create_symlink(".", base / "link");
  const std::vector<std::pair<std::string, std::string>> refusals = {
      {"file", "a file stands there"},
      {"dangling", "a link to nowhere, which is not there"},
      {"link", "it is a link to .; remove"},
      {"link/", "it is a link to .; remove"},
      {".", "try '" + (base / "grown").string()},
      {"..", "expected a name for a new folder"}};
  for (const auto& [name, words] : refusals) {
    for (const bool replace : {false, true}) {
      EXPECT_THAT(
          test::user_error_of([&] { OutputFolder(base / name, replace); }),
          HasSubstr(words));
    }
  }
}

TEST(OutputFolder, AnInputThatLiesInItIsKept) {
  const test::TestFolder base;
  make_model(base / "model");
  InputPaths inputs;
  inputs.add("the text", base / "model" / "config.json");
  for (const bool replace : {false, true}) {
    EXPECT_THAT(test::user_error_of(
                    [&] { OutputFolder(base / "model", replace, inputs); }),
                HasSubstr("the text " + (base / "model").string()));
  }
}

// A copy of what stays is no loss.
TEST(OutputFolder, ACopyOfAnInputsFileMayGo) {
  const test::TestFolder base;
  make_model(base / "model");
  test::write_raw(base / "model" / "vocab.json", "{}");
  fs::create_directory(base / "parent");
  InputPaths inputs;
  inputs.add("the parent", base / "parent");
  for (const char* original : {"[]", "{} "}) {
    test::write_raw(base / "parent" / "vocab.json", original);
    EXPECT_THAT(test::user_error_of(
                    [&] { OutputFolder(base / "model", true, inputs); }),
                HasSubstr("its vocab.json"));
  }
  test::write_raw(base / "parent" / "vocab.json", "{}");
  OutputFolder(base / "model", true, inputs).commit();
  EXPECT_FALSE(fs::exists(base / "model" / "vocab.json"));
}

// As version 0.1.0 left them: no manifest, but a lineage that ends with the
// very weights.
TEST(OutputFolder, AnEarlierVersionsFolderIsReplacedWhereThatIsCertain) {
  const test::TestFolder base;
  const Transformer model =
      tiny::model(tiny::config({.gated = true}), at::kFloat);
  Lineage lineage;
  append(lineage, {.op = "widen", .parent = "", .child = content_hash(model)});
  const auto make = [&] {
    fs::remove_all(base / "model");
    save_folder(model, base / "model", lineage);
  };
  make();
  test::write_raw(base / "model" / "README.md", "# My notes");
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "model", true); }),
              HasSubstr("its README.md"));
  make();
  test::write_raw(base / "model" / "README.md",
                  "# A grown model\n\nMade by [annuli](lineage.json) 0.1.0");
  OutputFolder(base / "model", true).commit();
  EXPECT_FALSE(fs::exists(base / "model" / "README.md"));
  lineage.back().child = "other";
  make();
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "model", true); }),
              HasSubstr("its config.json"))
      << "trained since by another program";
}

TEST(OutputFolder, AFolderThatAppearedMeanwhileIsKept) {
  const test::TestFolder base;
  OutputFolder out(base / "model", false);
  fs::create_directory(base / "model");
  test::write_raw(base / "model" / "config.json", "other");
  EXPECT_THAT(test::user_error_of([&] { out.commit(); }),
              HasSubstr("exists already"));
  EXPECT_EQ(read_file(base / "model" / "config.json"), "other");
}

TEST(OutputFolder, LeftoversOfTheDeadAreRemovedAndOthersKept) {
  const test::TestFolder base;
  const auto folder_with = [&](const std::string& name,
                               const std::string& file) {
    fs::create_directory(base / name);
    if (!file.empty()) test::write_raw(base / name / file, "x");
  };
  folder_with("model.tmp-99999999", "half");
  test::write_raw(base / "model.tmp-99999999" / ".annuli-unfinished", "");
  folder_with("model.tmp-99999998", "");
  make_model(base / "old");
  fs::rename(base / "old", base / "model.tmp-99999997");
  const std::vector<std::string> theirs = {"other.tmp-99999999",
                                           "model.tmp-99999996",
                                           "model.tmp-mine", "model.tmp-"};
  for (const std::string& name : theirs) folder_with(name, "photo");
  test::write_raw(base / "model.tmp-99999995", "a file");
  const OutputFolder living(base / "model", false);
  for (const char* gone :
       {"model.tmp-99999999", "model.tmp-99999998", "model.tmp-99999997"}) {
    EXPECT_FALSE(fs::exists(base / gone)) << gone;
  }
  for (const std::string& name : theirs) {
    EXPECT_TRUE(fs::exists(base / name / "photo")) << name;
  }
  EXPECT_TRUE(fs::exists(base / "model.tmp-99999995"));
  EXPECT_TRUE(fs::exists(living.folder()));
}

TEST(OutputFolder, TooLittleRoomIsSaidBeforeWriting) {
  const test::TestFolder base;
  const OutputFolder out(base / "model", false);
  EXPECT_THAT(test::user_error_of([&] { out.require_space(INT64_MAX / 2); }),
              HasSubstr("are free"));
}

TEST(Shards, AreCutAtTheLimit) {
  std::vector<TensorEntry> entries;
  for (const int64_t rows : {3, 3, 20, 1, 1}) {
    entries.push_back({.name = std::to_string(entries.size()),
                       .dtype = at::kFloat,
                       .shape = {rows, 2}});
  }
  const std::vector<Shard> shards = plan_shards(entries, 60);
  ASSERT_EQ(shards.size(), 3);
  EXPECT_EQ(shards[0].bytes, 48);
  EXPECT_EQ(shards[1].bytes, 160) << "larger than the limit by itself";
  EXPECT_EQ(shards[2].entries.size(), 2);
  EXPECT_EQ(shards[2].file, "model-00003-of-00003.safetensors");
  const Json index = shard_index(shards);
  EXPECT_EQ(index.at("metadata").at("total_size"), 224);
  EXPECT_EQ(index.at("weight_map").at("2"), shards[1].file);
  EXPECT_EQ(plan_shards(entries, 1000).at(0).file, "model.safetensors");
}

TEST(Shards, SizesAreRead) {
  EXPECT_EQ(parse_bytes("5GB"), 5'000'000'000);
  EXPECT_EQ(parse_bytes("1.5 MiB"), 3 << 19);
  EXPECT_EQ(parse_bytes("17"), 17);
  for (const char* wrong : {"", "GB", "-1GB", "5XB", "0", "nan"}) {
    EXPECT_THAT(test::user_error_of([&] { parse_bytes(wrong); }),
                HasSubstr("5GB"))
        << wrong;
  }
}

}  // namespace
}  // namespace annuli
