#include "annuli/checkpoint/training_state.h"
#include "annuli/checkpoint/state_folder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "annuli/checkpoint/test_files.h"
#include "annuli/core/hash.h"
#include "tests/support/thread_group.h"

namespace annuli {
namespace {

using test::identical;
using test::TestFolder;
using test::user_error_of;

TrainingState state_of_step(int step) {
  return {.progress = {{"step", step}, {"lr_scale", 0.1 + 0.2}},
          .weights = {{"b", at::full({3, 4}, step, at::kFloat)},
                      {"a", at::arange(5, at::kFloat)}},
          .optimizer = {{"m.b", at::full({3, 4}, step + 0.5, at::kFloat)},
                        {"v.b", at::full({3, 4}, step + 0.25, at::kFloat)}}};
}

int loaded_step(const fs::path& folder) {
  return load_training_state(folder)->state.progress.at("step").get<int>();
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) {
    names.push_back(item.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TrainingState, RoundTripsBitForBit) {
  const TestFolder folder;
  const TrainingState saved = state_of_step(7);
  save_training_state(folder / "state", saved);
  const auto found = load_training_state(folder / "state");
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->damaged.empty());
  EXPECT_EQ(found->folder, folder / "state" / "000001");
  const TrainingState& loaded = found->state;
  EXPECT_EQ(loaded.progress, saved.progress);
  EXPECT_EQ(loaded.progress["lr_scale"].get<double>(), 0.1 + 0.2);
  ASSERT_EQ(loaded.weights.size(), 2);
  ASSERT_EQ(loaded.optimizer.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(loaded.weights[i].name, saved.weights[i].name);
    EXPECT_TRUE(identical(loaded.weights[i].tensor, saved.weights[i].tensor));
    EXPECT_EQ(loaded.optimizer[i].name, saved.optimizer[i].name);
    EXPECT_TRUE(
        identical(loaded.optimizer[i].tensor, saved.optimizer[i].tensor));
  }
  EXPECT_FALSE(
      identical(loaded.weights[0].tensor, state_of_step(8).weights[0].tensor));
  EXPECT_EQ(load_progress(folder / "state"), saved.progress);
}

void flip_last_bit(const fs::path& file) {
  std::string bytes = read_file(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  test::write_raw(file, bytes);
}

// What process `rank` of two holds of `state_of_step`.
TrainingState part_of_step(int step, int64_t rank) {
  TrainingState all = state_of_step(step);
  TrainingState part{.progress = all.progress, .weights_in_parts = true};
  part.weights = {all.weights[static_cast<size_t>(rank)]};
  part.optimizer = {all.optimizer[static_cast<size_t>(rank)]};
  return part;
}

void save_in_parts(const fs::path& folder, int step) {
  test::run_together(2, [&](parallel::ProcessGroup& group) {
    save_training_state(folder, part_of_step(step, group.rank()), 2, group);
  });
}

TEST(TrainingState, SavedInPartsItIsOneState) {
  const TestFolder folder;
  save_in_parts(folder / "state", 3);
  EXPECT_THAT(
      names_in(folder / "state" / "000001"),
      ElementsAre("model-00001-of-00002.safetensors",
                  "model-00002-of-00002.safetensors",
                  "optimizer-00001-of-00002.safetensors",
                  "optimizer-00002-of-00002.safetensors", "state.json"));
  const auto loaded = load_training_state(folder / "state");
  const TrainingState all = state_of_step(3);
  ASSERT_EQ(loaded->state.weights.size(), 2);
  ASSERT_EQ(loaded->state.optimizer.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(loaded->state.weights[i].name, all.weights[i].name);
    EXPECT_TRUE(
        identical(loaded->state.weights[i].tensor, all.weights[i].tensor));
    EXPECT_TRUE(
        identical(loaded->state.optimizer[i].tensor, all.optimizer[i].tensor));
  }
  for (const std::string& name : names_in(folder / "state" / "000001")) {
    EXPECT_TRUE(is_state_path("000001/" + name)) << name;
  }
}

TEST(TrainingState, OnlyWhatIsWantedIsRead) {
  const TestFolder folder;
  save_training_state(folder / "state", state_of_step(1));
  save_in_parts(folder / "state", 2);
  const auto wanted = [](const Json& progress) {
    EXPECT_TRUE(progress.contains("step"));
    return WantedTensors{
        .weights = [](const std::string& name) { return name == "a"; },
        .optimizer = [](const std::string& name) { return name == "m.b"; }};
  };
  for (const int64_t skip : {0, 1}) {
    const auto loaded = load_training_state(folder / "state", skip, wanted);
    ASSERT_EQ(loaded->state.weights.size(), 1);
    EXPECT_EQ(loaded->state.weights[0].name, "a");
    ASSERT_EQ(loaded->state.optimizer.size(), 1);
    EXPECT_TRUE(
        identical(loaded->state.optimizer[0].tensor,
                  state_of_step(skip == 0 ? 2 : 1).optimizer[0].tensor));
  }
}

// Also in what is not wanted.
TEST(TrainingState, DamageOfAnyPartIsFound) {
  for (const char* name :
       {"model-00001-of-00002", "model-00002-of-00002",
        "optimizer-00001-of-00002", "optimizer-00002-of-00002"}) {
    const TestFolder folder;
    save_training_state(folder / "state", state_of_step(1), 2);
    save_in_parts(folder / "state", 2);
    flip_last_bit(folder / "state" / "000002" /
                  fmt::format("{}.safetensors", name));
    const auto none = [](const Json&) {
      const auto no = [](const std::string&) { return false; };
      return WantedTensors{.weights = no, .optimizer = no};
    };
    const auto loaded = load_training_state(folder / "state", 0, none);
    ASSERT_EQ(loaded->damaged.size(), 1) << name;
    EXPECT_THAT(loaded->damaged[0].fault, HasSubstr(name));
    EXPECT_EQ(loaded->state.progress.at("step"), 1);
  }
}

TEST(TrainingState, LoadedTensorsAreWritableAndTheirOwn) {
  const TestFolder folder;
  save_training_state(folder / "state", state_of_step(1));
  auto loaded = load_training_state(folder / "state");
  loaded->state.weights[0].tensor.zero_();
  EXPECT_TRUE(
      identical(load_training_state(folder / "state")->state.weights[0].tensor,
                state_of_step(1).weights[0].tensor));
}

TEST(TrainingState, NoneWasEverSaved) {
  const TestFolder folder;
  EXPECT_FALSE(load_training_state(folder / "state"));
  EXPECT_FALSE(load_progress(folder / "nowhere"));
  EXPECT_FALSE(is_training_state(folder / "nowhere"));
  // A first save that was interrupted.
  fs::create_directories(folder / "state" / ".tmp-000001");
  test::write_raw(folder / "state" / ".tmp-000001" / "model.safetensors",
                  "half");
  EXPECT_FALSE(load_training_state(folder / "state"));
  EXPECT_FALSE(is_training_state(folder / "state"));
}

TEST(TrainingState, AFreshRunHasNoOptimizerState) {
  const TestFolder folder;
  TrainingState state = state_of_step(0);
  state.optimizer.clear();
  save_training_state(folder / "state", state);
  EXPECT_TRUE(load_training_state(folder / "state")->state.optimizer.empty());
}

TEST(TrainingState, TheNewestAreKept) {
  const TestFolder folder;
  const fs::path state = folder / "state";
  for (int step = 1; step <= 3; ++step) {
    save_training_state(state, state_of_step(step));
    EXPECT_EQ(loaded_step(state), step);
  }
  EXPECT_THAT(names_in(state), ElementsAre("000003"));
  for (int step = 4; step <= 6; ++step) {
    save_training_state(state, state_of_step(step), 3);
  }
  EXPECT_THAT(names_in(state), ElementsAre("000004", "000005", "000006"));
  EXPECT_EQ(loaded_step(state), 6);
  EXPECT_EQ(loaded_step(state / "000004"), 4);
  EXPECT_TRUE(is_training_state(state));
  EXPECT_TRUE(is_training_state(state / "000004"));
  save_training_state(state, state_of_step(7), 2);
  EXPECT_THAT(names_in(state), ElementsAre("000006", "000007"));
}

TEST(TrainingState, OlderOnesCanBeAskedFor) {
  const TestFolder folder;
  const fs::path state = folder / "state";
  for (int step = 1; step <= 3; ++step) {
    save_training_state(state, state_of_step(step), 3);
  }
  const auto older = load_training_state(state, 1);
  EXPECT_EQ(older->state.progress.at("step"), 2);
  EXPECT_THAT(older->skipped, ElementsAre(state / "000003"));
  EXPECT_EQ(load_training_state(state, 2)->state.progress.at("step"), 1);
  EXPECT_FALSE(load_training_state(state, 3));
}

TEST(TrainingState, NumbersGoOnBeyondTheirDigits) {
  const TestFolder folder;
  const fs::path state = folder / "state";
  save_training_state(state, state_of_step(1));
  fs::rename(state / "000001", state / "999999");
  save_training_state(state, state_of_step(2), 2);
  EXPECT_THAT(names_in(state), ElementsAre("1000000", "999999"));
  EXPECT_EQ(loaded_step(state), 2);
}

// Every point at which a save can be cut off.
TEST(TrainingState, InterruptedSavesLoseNothing) {
  const TestFolder folder;
  const fs::path state = folder / "state";
  save_training_state(state, state_of_step(1));
  save_training_state(folder / "next", state_of_step(2));
  const fs::path made = state / ".tmp-000002";

  // Some files written, or all, and not yet renamed: the old one counts.
  fs::create_directories(made);
  for (const char* name :
       {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    fs::copy(folder / "next" / "000001" / name, made);
    EXPECT_EQ(loaded_step(state), 1) << name;
  }
  // Renamed, the old one not yet removed: the new one counts.
  fs::rename(made, state / "000002");
  EXPECT_EQ(loaded_step(state), 2);
  // The old one half removed.
  fs::remove(state / "000001" / "model.safetensors");
  EXPECT_EQ(loaded_step(state), 2);

  // The next save clears all of it.
  fs::create_directories(state / ".tmp-000007");
  save_training_state(state, state_of_step(3));
  EXPECT_EQ(loaded_step(state), 3);
  EXPECT_THAT(names_in(state), ElementsAre("000003"));
}

// Ways to spoil a state, and how each is told.
struct Damage {
  void (*spoil)(const fs::path& state);
  const char* says;
};

const Damage kDamages[] = {
    {[](const fs::path& state) {
       fs::resize_file(state / "model.safetensors", 100);
     },
     "model.safetensors has 100 bytes"},
    {[](const fs::path& state) { fs::remove(state / "optimizer.safetensors"); },
     "optimizer.safetensors is missing"},
    {[](const fs::path& state) { fs::remove(state / "state.json"); },
     "state.json is missing"},
    {[](const fs::path& state) {
       test::write_raw(state / "state.json", "{\"a\"");
     },
     "state.json"},
    {[](const fs::path& state) { test::write_raw(state / "state.json", "[]"); },
     "state.json"},
    {[](const fs::path& state) {
       Json json = read_json(state / "state.json");
       json["format_version"] = 1;
       write_json(state / "state.json", json);
     },
     "format_version 1"},
    {[](const fs::path& state) {
       Json json = read_json(state / "state.json");
       json["progress"]["step"] = 8;
       write_json(state / "state.json", json);
     },
     "state.json is not what was written"},
    // A name that could lead out of the folder.
    {[](const fs::path& state) {
       Json json = read_json(state / "state.json");
       json["files"]["../plan.yaml"] = json["files"]["model.safetensors"];
       json.erase("hash");
       json["hash"] = sha256_of(json.dump());
       write_json(state / "state.json", json);
     },
     "state.json names a file '../plan.yaml'"},
    // One bit of one moment, sizes unchanged.
    {[](const fs::path& state) {
       flip_last_bit(state / "optimizer.safetensors");
     },
     "content hash differs"},
};

TEST(TrainingState, DamageIsNamed) {
  for (const Damage& damage : kDamages) {
    const TestFolder folder;
    const fs::path state = folder / "state";
    save_training_state(state, state_of_step(1));
    EXPECT_EQ(user_error_of([&] { load_training_state(state); }), "");
    damage.spoil(state / "000001");
    EXPECT_THAT(user_error_of([&] { load_training_state(state); }),
                HasSubstr(damage.says));
  }
}

TEST(TrainingState, ADamagedNewestFallsBackToTheOneBefore) {
  for (const Damage& damage : kDamages) {
    const TestFolder folder;
    const fs::path state = folder / "state";
    save_training_state(state, state_of_step(1), 2);
    save_training_state(state, state_of_step(2), 2);
    damage.spoil(state / "000002");
    const auto loaded = load_training_state(state);
    EXPECT_EQ(loaded->state.progress.at("step"), 1) << damage.says;
    ASSERT_EQ(loaded->damaged.size(), 1u) << damage.says;
    EXPECT_THAT(loaded->damaged[0].fault, HasSubstr(damage.says));

    set_aside(loaded->damaged[0].folder);
    EXPECT_TRUE(load_training_state(state)->damaged.empty());
    EXPECT_THAT(names_in(state), ElementsAre(".damaged-000002", "000001"));
    save_training_state(state, state_of_step(3), 2);
    EXPECT_EQ(loaded_step(state), 3);
    EXPECT_THAT(names_in(state), ElementsAre("000001", "000002"));
  }
}

TEST(TrainingState, KnowsTheNamesThatItGives) {
  for (const char* path :
       {"000007/state.json", "1/model.safetensors", "000007/",
        ".tmp-000008/optimizer.safetensors", ".damaged-000001/state.json",
        "000007/state.json.tmp-12-0"}) {
    EXPECT_TRUE(is_state_path(path)) << path;
  }
  for (const char* path :
       {"photo.jpg", "000007", "000007/photo.jpg", "000007/a/state.json",
        "mine/state.json", ".tmp-mine/state.json", "/state.json", ""}) {
    EXPECT_FALSE(is_state_path(path)) << path;
  }
}

TEST(TrainingState, WhatIsNoStateStaysInTheFolder) {
  const test::TestFolder base;
  for (const char* name : {".tmp-mine", ".damaged-", "notes"}) {
    fs::create_directories(base.path() / "state" / name);
  }
  fs::create_directories(base.path() / "state" / ".tmp-000003");
  remove_unfinished_states(base / "state");
  EXPECT_FALSE(fs::exists(base.path() / "state" / ".tmp-000003"));
  for (const char* name : {".tmp-mine", ".damaged-", "notes"}) {
    EXPECT_TRUE(fs::exists(base.path() / "state" / name)) << name;
  }
}

}  // namespace
}  // namespace annuli
