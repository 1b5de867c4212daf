#include "annuli/checkpoint/training_state.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/test_files.h"

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
  return load_training_state(folder)->progress.at("step").get<int>();
}

int files_in(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), {}));
}

TEST(TrainingState, RoundTripsBitForBit) {
  const TestFolder folder;
  const TrainingState saved = state_of_step(7);
  save_training_state(folder / "state", saved);
  const auto loaded = load_training_state(folder / "state");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->progress, saved.progress);
  EXPECT_EQ(loaded->progress["lr_scale"].get<double>(), 0.1 + 0.2);
  ASSERT_EQ(loaded->weights.size(), 2);
  ASSERT_EQ(loaded->optimizer.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(loaded->weights[i].name, saved.weights[i].name);
    EXPECT_TRUE(identical(loaded->weights[i].tensor, saved.weights[i].tensor));
    EXPECT_EQ(loaded->optimizer[i].name, saved.optimizer[i].name);
    EXPECT_TRUE(
        identical(loaded->optimizer[i].tensor, saved.optimizer[i].tensor));
  }
  EXPECT_FALSE(
      identical(loaded->weights[0].tensor, state_of_step(8).weights[0].tensor));
  EXPECT_EQ(load_progress(folder / "state"), saved.progress);
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(TrainingState, LoadedTensorsAreWritableAndTheirOwn) {
  const TestFolder folder;
  save_training_state(folder / "state", state_of_step(1));
  auto loaded = load_training_state(folder / "state");
  loaded->weights[0].tensor.zero_();
  EXPECT_TRUE(
      identical(load_training_state(folder / "state")->weights[0].tensor,
                state_of_step(1).weights[0].tensor));
}

TEST(TrainingState, NoneWasEverSaved) {
  const TestFolder folder;
  EXPECT_FALSE(load_training_state(folder / "state"));
  EXPECT_FALSE(load_progress(folder / "nowhere"));
  // A first save that was interrupted before its state.json.
  fs::create_directories(folder / "state.tmp-0");
  test::write_raw(folder / "state.tmp-0" / "model.safetensors", "half");
  EXPECT_FALSE(load_training_state(folder / "state"));
}

TEST(TrainingState, AFreshRunHasNoOptimizerState) {
  const TestFolder folder;
  TrainingState state = state_of_step(0);
  state.optimizer.clear();
  save_training_state(folder / "state", state);
  EXPECT_TRUE(load_training_state(folder / "state")->optimizer.empty());
}

TEST(TrainingState, NewestReplacesThePrevious) {
  const TestFolder folder;
  for (int step = 1; step <= 3; ++step) {
    save_training_state(folder / "state", state_of_step(step));
    EXPECT_EQ(loaded_step(folder / "state"), step);
    EXPECT_EQ(files_in(folder.path()), 1);
  }
}

// Every point at which a save can be cut off.
TEST(TrainingState, InterruptedSavesLoseNothing) {
  const TestFolder folder;
  const fs::path state = folder / "state";
  save_training_state(state, state_of_step(1));
  save_training_state(folder / "next", state_of_step(1));
  save_training_state(folder / "next", state_of_step(2));
  const fs::path made = folder / "state.tmp-1";

  // Half of the tensors written, no state.json yet: the old one counts.
  fs::create_directories(made);
  fs::copy(folder / "next" / "model.safetensors", made);
  EXPECT_EQ(loaded_step(state), 1);

  // All written, not yet renamed: the new one counts.
  fs::copy(folder / "next" / "optimizer.safetensors", made);
  fs::copy(folder / "next" / "state.json", made);
  EXPECT_EQ(loaded_step(state), 2);

  // The old one set aside (file systems without an exchange of names).
  fs::rename(state, folder / "state.tmp-previous");
  EXPECT_EQ(loaded_step(state), 2);

  // The new one in place, the old one not yet removed.
  fs::rename(made, state);
  EXPECT_EQ(loaded_step(state), 2);

  // The next save clears all of it.
  fs::remove_all(folder / "next");
  save_training_state(state, state_of_step(3));
  EXPECT_EQ(loaded_step(state), 3);
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(TrainingState, ADamagedNewestFallsBackToAWholeOlder) {
  const TestFolder folder;
  save_training_state(folder / "state", state_of_step(1));
  fs::copy(folder / "state", folder / "state.tmp-previous");
  save_training_state(folder / "other", state_of_step(1));
  save_training_state(folder / "other", state_of_step(2));
  fs::remove_all(folder / "state");
  fs::rename(folder / "other", folder / "state");
  fs::resize_file(folder / "state" / "model.safetensors", 100);
  EXPECT_EQ(loaded_step(folder / "state"), 1);
}

TEST(TrainingState, DamageIsNamed) {
  const auto error_after = [](const auto& damage) {
    const TestFolder folder;
    const fs::path state = folder / "state";
    save_training_state(state, state_of_step(1));
    damage(state);
    return user_error_of([&] { load_training_state(state); });
  };
  using testing::HasSubstr;
  EXPECT_EQ(error_after([](const fs::path&) {}), "");
  EXPECT_THAT(error_after([](const fs::path& state) {
                fs::resize_file(state / "model.safetensors", 100);
              }),
              HasSubstr("model.safetensors has 100 bytes"));
  EXPECT_THAT(error_after([](const fs::path& state) {
                fs::remove(state / "optimizer.safetensors");
              }),
              HasSubstr("optimizer.safetensors is missing"));
  EXPECT_THAT(error_after([](const fs::path& state) {
                fs::remove(state / "state.json");
              }),
              HasSubstr("state.json is missing"));
  EXPECT_THAT(error_after([](const fs::path& state) {
                test::write_raw(state / "state.json", "{\"a\"");
              }),
              HasSubstr("state.json"));
  EXPECT_THAT(error_after([](const fs::path& state) {
                test::write_raw(state / "state.json", "[]");
              }),
              HasSubstr("state.json"));
  EXPECT_THAT(error_after([](const fs::path& state) {
                Json json = read_json(state / "state.json");
                json["format_version"] = 2;
                write_json(state / "state.json", json);
              }),
              HasSubstr("format_version 2"));
  // One bit of one moment, sizes unchanged.
  EXPECT_THAT(error_after([](const fs::path& state) {
                std::string bytes = read_file(state / "optimizer.safetensors");
                bytes.back() = static_cast<char>(bytes.back() ^ 1);
                test::write_raw(state / "optimizer.safetensors", bytes);
              }),
              HasSubstr("content hash differs"));
}

}  // namespace
}  // namespace annuli
