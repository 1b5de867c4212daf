// Processes that grow from files to files together write the bytes of one.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors_filler.h"
#include "annuli/checkpoint/test_files.h"
#include "annuli/core/error.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/shard_stream.h"
#include "annuli/grow/stream.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/model_folder.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

class StreamProcesses : public ::testing::Test {
 protected:
  void SetUp() override {
    tiny::save_as(parent_, base_ / "parent", at::kFloat);
  }

  Streamed stream_into(const std::string& name, const Recipe& recipe,
                       int64_t max_shard_bytes,
                       parallel::ProcessGroup& group) const {
    const ModelFile file(base_ / "parent");
    const StreamOrder order{.recipe = recipe,
                            .parents = {&file},
                            .max_shard_bytes = max_shard_bytes,
                            .group = group};
    return stream(order, plan_stream(order), base_ / name,
                  {{"annuli", "a test"}});
  }

  std::vector<std::string> files_of(const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& item : fs::directory_iterator(base_ / name)) {
      names.push_back(item.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  void expect_same(const Recipe& recipe, int64_t max_shard_bytes) const {
    fs::create_directory(base_ / "alone");
    const Streamed alone =
        stream_into("alone", recipe, max_shard_bytes, parallel::solo());
    for (const int64_t processes : {2, 4}) {
      const std::string name = std::to_string(processes);
      fs::create_directory(base_ / name);
      test::run_together(processes, [&](parallel::ProcessGroup& group) {
        const Streamed together =
            stream_into(name, recipe, max_shard_bytes, group);
        EXPECT_EQ(together.child, alone.child);
        EXPECT_EQ(together.parents, alone.parents);
      });
      EXPECT_EQ(files_of(name), files_of("alone"));
      for (const std::string& file : files_of("alone")) {
        EXPECT_TRUE(read_file(base_ / name / file) ==
                    read_file(base_ / "alone" / file))
            << file << " of " << processes;
      }
      fs::remove_all(base_ / name);
    }
    fs::remove_all(base_ / "alone");
  }

  Transformer parent_ = tiny::model(
      tiny::config({.gated = true, .num_key_value_heads = 2}), at::kFloat);
  test::TestFolder base_;
};

TEST_F(StreamProcesses, WriteTheBytesOfOne) {
  const Recipe widened =
      Widen({.factor = 2, .noise_snr_db = 10}).recipe(parent_.config(), 5);
  const Recipe upcycled = Upcycle({}).recipe(parent_.config(), 5);
  const Recipe deepened =
      Deepen({.weights = LayerSource::kRandom}).recipe(parent_.config(), 5);
  const Recipe untied = Untie({}).recipe(parent_.config(), 5);
  for (const int64_t shard : {int64_t{20'000}, INT64_MAX}) {
    SCOPED_TRACE(shard);
    expect_same(widened, shard);
    expect_same(upcycled, shard);
    expect_same(deepened, shard);
    expect_same(untied, shard);
  }
}

// No process has more than its share and the largest tensor.
TEST_F(StreamProcesses, EachMakesItsPart) {
  const ModelFile file(base_ / "parent");
  const Recipe recipe = Widen({.factor = 2}).recipe(parent_.config(), 5);
  const StreamOrder order{
      .recipe = recipe, .parents = {&file}, .max_shard_bytes = 20'000};
  const std::vector<Shard> shards = plan_stream(order).shards;
  const std::vector<int64_t> makers = makers_of(shards, 4);
  std::vector<int64_t> bytes(4, 0);
  int64_t largest = 0;
  size_t index = 0;
  for (const Shard& shard : shards) {
    for (const TensorEntry& entry : shard.entries) {
      bytes[makers.at(index++)] += entry.bytes;
      largest = std::max(largest, entry.bytes);
    }
  }
  EXPECT_EQ(index, makers.size());
  EXPECT_LE(std::ranges::max(bytes), total_bytes(shards) / 4 + largest);
  EXPECT_GT(std::ranges::min(bytes), 0);
}

TEST_F(StreamProcesses, OneThatCannotWriteFailsAll) {
  const Recipe recipe = Widen({.factor = 2}).recipe(parent_.config(), 5);
  EXPECT_THROW(test::run_together(2,
                                  [&](parallel::ProcessGroup& group) {
                                    stream_into("nowhere", recipe, INT64_MAX,
                                                group);
                                  }),
               UserError);
}

}  // namespace
}  // namespace annuli::grow
