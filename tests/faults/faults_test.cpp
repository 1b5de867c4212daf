// A few faults of every kind, and that the harness can lose: each judge is
// shown what it must not let pass.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "tests/faults/cases.h"
#include "tests/faults/damage.h"
#include "tests/faults/injections.h"
#include "tests/faults/judge.h"

namespace annuli::faults {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kTiny = "plans/tiny.yaml";

class FaultsTest : public testing::Test {
 protected:
  FaultsTest() { fs::create_directories(root_); }
  ~FaultsTest() override { fs::remove_all(root_); }

  fs::path path(const std::string& name) const { return root_ / name; }

  const fs::path root_ = work_folder();
};

void append(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::app) << text;
}

TEST_F(FaultsTest, TensOfThemAreSurvived) {
  Scenes scenes(kTiny, root_);
  Tally tally;
  const Order order{.kills = 3, .growth_kills = 3, .damages = 1, .each = 1};
  try_cases(collect_cases(order, scenes, tally), root_, tally);
  std::cout << tally.text();
  EXPECT_EQ(tally.lost(), 0);
  // A program that no fault meets loses nothing. Growth cuts no file short, and
  // little else may find no occasion.
  const std::vector<std::string> kinds = tally.kinds();
  EXPECT_GE(kinds.size(), 30u);
  const auto unmet = std::ranges::count_if(
      kinds, [&](const auto& kind) { return tally.injected(kind) == 0; });
  EXPECT_LE(unmet, std::ssize(kinds) / 10) << tally.text();
}

TEST_F(FaultsTest, ALaterStartWithAnotherSeedIsLost) {
  Scenes scenes(kTiny, root_);
  const Training& training = scenes.training();
  Script fresh(path("fresh"));
  EXPECT_THAT(training.finish(fresh, {"--set", "seed=43"}),
              HasSubstr("differs"));
  Script killed(path("killed"));
  const Outcome outcome =
      killed.run(training.arguments(killed), killed.fault("all:400:kill-half"));
  EXPECT_EQ(outcome.status, kKilled);
  EXPECT_TRUE(killed.fault_came());
  EXPECT_NE(training.finish(killed, {"--set", "seed=43"}), "");
}

// What a state was, bit for bit, is not what the reference's last start finds.
TEST_F(FaultsTest, AnythingElseThanTheReferenceIsLost) {
  Scenes scenes(kTiny, root_);
  const Training& training = scenes.training();
  const fs::path run = path("run");
  fs::copy(training.reference() / "run", run, fs::copy_options::recursive);
  EXPECT_EQ(training.difference(run), "");
  Script script(path("script"));
  damage_file(run / "checkpoints/large_moe_final.pt", Damage::kFlip,
              CounterRng(1, "flip"), script);
  EXPECT_THAT(training.difference(run), HasSubstr("large_moe_final.pt"));
  append(run / "training_history.jsonl", "{\"type\": \"step\"}\n");
  EXPECT_THAT(training.difference(run), HasSubstr("history"));
}

// What is judged where digits may differ: all but them.
TEST_F(FaultsTest, ARunIsLikeTheReferenceButForDigits) {
  Scenes scenes(kTiny, root_);
  const fs::path reference = scenes.training().reference() / "run";
  const fs::path run = path("run");
  fs::copy(reference, run, fs::copy_options::recursive);
  const fs::path history = run / "training_history.jsonl";
  const std::string lines = read_file(history);
  const auto with = [&](const std::string& text, const std::string& other) {
    std::string changed = lines;
    const size_t at = changed.find(text);
    ANNULI_CHECK(at != changed.npos, "the history has no {}", text);
    write_file_atomically(history, changed.replace(at, text.size(), other));
    return run_unlikeness(run, reference);
  };
  EXPECT_EQ(with("\"loss\":5.5", "\"loss\":5.51"), "");
  EXPECT_THAT(with("\"loss\":5.", "\"loss\":6."), HasSubstr("line 1 "));
  EXPECT_THAT(with("\"loss\":5.", "\"lost\":5."), HasSubstr("line 1 "));
  EXPECT_THAT(with("\"step\":2", "\"step\":3"), HasSubstr("line 2 "));
  EXPECT_EQ(with("", ""), "");
  append(run / "checkpoints/dense_model.pt", " ");
  EXPECT_THAT(run_unlikeness(run, reference), HasSubstr("dense_model.pt"));
}

TEST_F(FaultsTest, AHalfChildAndATouchedParentAreLost) {
  Scenes scenes(kTiny, root_);
  const Growth& growth = scenes.growth(0);
  Script half(path("half"));
  growth.prepare(half);
  fs::copy(growth.reference() / "child", half.folder() / "child");
  append(half.folder() / "child/config.json", " ");
  EXPECT_THAT(growth.finish(half), HasSubstr("before the next start"));
  Script touched(path("touched"));
  growth.prepare(touched);
  append(touched.folder() / "parent/config.json", " ");
  EXPECT_THAT(growth.finish(touched), HasSubstr("parent/config.json"));
  Script littered(path("littered"));
  growth.prepare(littered);
  append(littered.folder() / "child.lock", "");
  EXPECT_THAT(growth.finish(littered), HasSubstr("files"));
}

TEST_F(FaultsTest, EndingsThatAProgramMayNotHaveAreLost) {
  EXPECT_EQ(bad_ending({.status = 0}), "");
  EXPECT_EQ(bad_ending({.status = 2, .err = "annuli: no room\n"}), "");
  EXPECT_EQ(bad_ending({.status = kKilled}, true), "");
  for (const Outcome& bad :
       std::vector<Outcome>{{.status = kKilled},
                            {.status = -1},
                            {.status = 134, .err = "terminate called\n"},
                            {.status = 3, .err = "annuli: a bug\n"},
                            {.status = 2},
                            {.status = 1, .err = "annuli: one\nannuli: two\n"},
                            {.status = 1, .err = "libgomp: no threads\n"}}) {
    EXPECT_NE(bad_ending(bad), "") << bad.status << bad.err;
  }
  EXPECT_NE(not_done("starting", {.status = 1}), "");
}

TEST_F(FaultsTest, FilesLeftBehindAreLost) {
  Script script(path("script"));
  append(script.folder() / "model.pt", "whole");
  EXPECT_EQ(leftovers(script.folder()), "");
  append(script.folder() / "tmp/annuli-abc", "");
  EXPECT_THAT(leftovers(script.folder()), HasSubstr("tmp/annuli-abc"));
  fs::remove(script.folder() / "tmp/annuli-abc");
  append(script.folder() / "model.pt.tmp-1-2", "half");
  EXPECT_THAT(leftovers(script.folder()), HasSubstr("model.pt.tmp-1-2"));
}

TEST_F(FaultsTest, TheTallyShowsWhatRepeatsALostCase) {
  Tally tally;
  tally.add("kill", {.injected = 2}, {"first command"});
  EXPECT_EQ(tally.lost(), 0);
  tally.add("kill", {.injected = 1, .lost = "models differ"},
            {"second command"});
  tally.add("mmap fails", {}, {});
  EXPECT_EQ(tally.lost(), 1);
  const std::string text = tally.text();
  EXPECT_THAT(text, HasSubstr("models differ"));
  EXPECT_THAT(text, HasSubstr("second command"));
  EXPECT_THAT(text, Not(HasSubstr("first command")));
  EXPECT_THAT(text, HasSubstr("no occasion: mmap fails"));
}

// The preloaded library: half of a write, an error, a jump.
TEST_F(FaultsTest, AFaultIsWhatItsOrderSays) {
  Scenes scenes(kTiny, root_);
  const Training& training = scenes.training();
  for (const Failure& failure : failures()) {
    EXPECT_GT(training.calls(failure.calls), 0) << failure.kind;
  }
  const auto after = [&](const std::string& orders) {
    Script script(path(orders));
    return script.run(training.arguments(script), script.fault(orders)).err;
  };
  EXPECT_THAT(after("write:40:full"), HasSubstr("No space left"));
  EXPECT_THAT(after("rename:9:EACCES"), HasSubstr("Permission denied"));
  EXPECT_THAT(after("open:9:EROFS+"), HasSubstr("Read-only file system"));
  EXPECT_THAT(after("map:1:ENOMEM"), HasSubstr("Cannot allocate memory"));
}

}  // namespace
}  // namespace annuli::faults
