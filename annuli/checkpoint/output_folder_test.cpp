#include "annuli/checkpoint/output_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/shards.h"
#include "annuli/checkpoint/test_files.h"

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

TEST(OutputFolder, AnExistingFolderIsRefusedOrReplaced) {
  const test::TestFolder base;
  fs::create_directory(base / "model");
  test::write_raw(base / "model" / "config.json", "old");
  test::write_raw(base / "model" / "stale", "old");
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "model", false); }),
              HasSubstr("--force"));
  OutputFolder out(base / "model/", true);
  write_file_atomically(out.folder() / "config.json", "new");
  EXPECT_EQ(read_file(base / "model" / "config.json"), "old");
  out.commit();
  EXPECT_EQ(read_file(base / "model" / "config.json"), "new");
  EXPECT_FALSE(fs::exists(base / "model" / "stale"));
  EXPECT_THAT(names_in(base.path()), ::testing::ElementsAre("model"));
}

TEST(OutputFolder, WhatIsNoModelIsNeverReplaced) {
  const test::TestFolder base;
  fs::create_directory(base / "photos");
  test::write_raw(base / "photos" / "cat.jpg", "cat");
  EXPECT_THAT(test::user_error_of([&] { OutputFolder(base / "photos", true); }),
              HasSubstr("not a model folder"));
  EXPECT_TRUE(fs::exists(base / "photos" / "cat.jpg"));
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
  fs::create_directory(base / "model.tmp-99999999");
  test::write_raw(base / "model.tmp-99999999" / "half", "x");
  fs::create_directory(base / "other.tmp-99999999");
  const OutputFolder living(base / "model", false);
  EXPECT_FALSE(fs::exists(base / "model.tmp-99999999"));
  EXPECT_TRUE(fs::exists(base / "other.tmp-99999999"));
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
