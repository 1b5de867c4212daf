#include "annuli/watch/live_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/report/page.h"
#include "annuli/report/small_run_for_tests.h"

namespace annuli::watch {
namespace {

using report::SmallRun;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A browser's view of the page: what it was given first, and what came since.
class Viewer {
 public:
  explicit Viewer(LivePage& page) : page_(page) {
    page_.add_reader();
    fetch();
  }
  ~Viewer() { page_.remove_reader(); }

  // Takes all that there is.
  void follow() {
    while (true) {
      const Text text = page_.wait(place_, milliseconds(0));
      if (!text || text->starts_with(':')) return;
      last_ = *text;
      if (text->starts_with("event: anew\n")) {
        ++fetched_;
        fetch();
      } else {
        take(Json::parse(text->substr(text->find("data: ") + 6)));
      }
    }
  }

  const Json& run(size_t i = 0) const { return data_.at("runs").at(i); }
  const Json& data() const { return data_; }
  int fetched() const { return fetched_; }
  const std::string& last() const { return last_; }

 private:
  void fetch() {
    data_ = Json::parse(*page_.data());
    place_ = {.server = data_.at("live").at("server"),
              .revision = data_.at("live").at("revision")};
  }
  // As live.js does.
  void take(const Json& update) {
    EXPECT_EQ(update.at("revision"), place_.revision);
    for (size_t i = 0; i < update.at("runs").size(); ++i) {
      const Json& one = update.at("runs")[i];
      Json& run = data_.at("runs")[i];
      Json& steps = run.at("steps");
      for (const auto& [key, values] : one.at("steps").items()) {
        if (values.is_array()) {
          for (const Json& value : values) steps[key].push_back(value);
        } else if (key == "count") {
          steps[key] = values;
        }
      }
      const size_t from = one.at("smooth_from").get<size_t>();
      for (size_t k = 0; k < one.at("smooth_loss").size(); ++k) {
        steps.at("smooth_loss").at(from - 1 + k) = one.at("smooth_loss")[k];
      }
      run.update(one.at("set"));
    }
    if (update.contains("comparison")) {
      data_["comparison"] = update.at("comparison");
    }
  }

  LivePage& page_;
  LivePage::Place place_;
  Json data_;
  std::string last_;
  int fetched_ = 0;
};

class Live : public testing::Test {
 protected:
  void append(const Json& line, const SmallRun* run = nullptr) {
    std::ofstream((run ? run : &run_)->history(), std::ios::app)
        << line.dump() << "\n";
  }
  // The loss is never twice the same.
  static Json step(int64_t number, const char* phase = "dense") {
    return SmallRun::step(number, 3 + 1.0 / static_cast<double>(number), {},
                          phase);
  }
  void look(LivePage& page) { page.refresh(now_ += seconds(1)); }

  // What `annuli report` would show now.
  void expect_same(const Viewer& viewer,
                   std::vector<std::filesystem::path> folders) {
    const Json report = Json::parse(report::page_data(folders).dump());
    for (size_t i = 0; i < folders.size(); ++i) {
      Json live = viewer.run(i);
      live.erase("status");
      EXPECT_EQ(live, report.at("runs")[i]) << folders[i];
    }
    EXPECT_EQ(viewer.data().at("comparison"), report.at("comparison"));
  }

  SmallRun run_;
  Clock::time_point now_ = Clock::now();
};

TEST_F(Live, FollowsARunStepByStep) {
  append(step(1));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  // Over several widths of the mean, and a seam.
  for (int64_t i = 2; i <= 300; ++i) {
    append(step(i));
    if (i % 7 != 0) continue;
    look(page);
    viewer.follow();
    if (i % 49 == 0) expect_same(viewer, {run_.folder()});
  }
  append({{"type", "phase"}, {"phase", "dense"}, {"active_parameters", 10}});
  look(page);
  viewer.follow();
  append({{"type", "boundary"}, {"phase", "moe"}, {"operator", "upcycle"}});
  for (int64_t i = 1; i <= 90; ++i) {
    append(step(i, "moe"));
    look(page);
    viewer.follow();
  }
  append({{"type", "evaluation"},
          {"phase", "moe"},
          {"step", 90},
          {"eval_loss", 3.25}});
  look(page);
  viewer.follow();
  expect_same(viewer, {run_.folder()});
  // FLOPs were known at the phase's end, of all steps at once, and no more when
  // the next began.
  EXPECT_EQ(viewer.fetched(), 2);
}

TEST_F(Live, WaitsForTheFirstStep) {
  LivePage page({run_.folder()});
  Viewer viewer(page);
  EXPECT_TRUE(viewer.data().at("runs").empty());
  EXPECT_EQ(viewer.data().at("live").at("waiting").size(), 1);
  append({{"type", "boundary"}, {"phase", "dense"}});
  look(page);
  viewer.follow();
  EXPECT_TRUE(viewer.data().at("runs").empty());
  append(step(1));
  look(page);
  viewer.follow();
  expect_same(viewer, {run_.folder()});
  EXPECT_TRUE(viewer.data().at("live").at("waiting").empty());
}

TEST_F(Live, ARunThatWasCutBackIsFetchedAnew) {
  for (int64_t i = 1; i <= 40; ++i) append(step(i));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  std::string text = read_file(run_.history());
  // Cut back, and already longer than before.
  text.resize(text.size() / 2);
  text.resize(text.rfind('\n') + 1);
  run_.write_history(text);
  for (int64_t i = 1; i <= 60; ++i) append(step(i + 1000));
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.fetched(), 1);
  expect_same(viewer, {run_.folder()});
  append(step(2000));
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.fetched(), 1);
  expect_same(viewer, {run_.folder()});
}

TEST_F(Live, OtherFilesAreReadWhenTheyChange) {
  append(step(1));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  run_.write("verify/dense.json",
             R"({"growth": [{"check": "c", "aspect": "a", "passed": false,
                 "measured": 2, "limit": 1}]})");
  run_.write("samples/dense.txt", "=== p\n--- greedy\ntext\n");
  look(page);
  viewer.follow();
  expect_same(viewer, {run_.folder()});
  EXPECT_EQ(viewer.run().at("status").at("words"), "failed: c (dense)");
  run_.write("summary.json", "{}");
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.run().at("status").at("words"), "failed: c (dense), ended");
  EXPECT_EQ(viewer.fetched(), 0);
}

TEST_F(Live, WhatCannotBeReadIsSaidAndTheRestStays) {
  append(step(1));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  const Json before = viewer.run().at("steps");
  append({{"type", "step"},
          {"phase", "dense"},
          {"step", 2},
          {"loss", "low"},
          {"tokens", 1}});
  run_.write("verify/dense.json", "{");
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.run().at("steps"), before);
  EXPECT_EQ(viewer.run().at("status").at("words"), "cannot be read");
  EXPECT_THAT(viewer.run().at("status").at("trouble").get<std::string>(),
              testing::HasSubstr("line 2"));
  // Put right.
  run_.write("verify/dense.json", "{}");
  run_.write_history(step(1).dump() + "\n" + step(2).dump() + "\n");
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.run().at("status").at("words"), "");
  expect_same(viewer, {run_.folder()});
}

TEST_F(Live, ItStallsAndGoesOn) {
  append(step(1));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  now_ += seconds(100);
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.run().at("status").at("words"), "stalled");
  append(step(2));
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.run().at("status").at("words"), "");
}

TEST_F(Live, RunsBesideEachOther) {
  SmallRun other;
  for (int64_t i = 1; i <= 9; ++i) append(step(i));
  append(step(1), &other);
  LivePage page({run_.folder(), other.folder()});
  Viewer viewer(page);
  for (int64_t i = 2; i <= 5; ++i) append(step(i), &other);
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.fetched(), 0);
  expect_same(viewer, {run_.folder(), other.folder()});
}

TEST_F(Live, OnlyWhatHasChangedIsSent) {
  for (int64_t i = 1; i <= 3000; ++i) append(step(i));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  look(page);
  viewer.follow();
  EXPECT_EQ(viewer.last(), "") << "nothing has";
  append(step(3001));
  look(page);
  viewer.follow();
  // The step, and the means of the 75 before it.
  EXPECT_LT(viewer.last().size(), 2000);
  EXPECT_THAT(viewer.last(), testing::HasSubstr("\"set\":{}"));
}

TEST_F(Live, WhoIsTooFarBehindFetchesAll) {
  append(step(1));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  constexpr auto kKept = static_cast<int64_t>(LivePage::kKept);
  for (int64_t i = 2; i < 2 + kKept; ++i) {
    append(step(i));
    look(page);
  }
  viewer.follow();
  EXPECT_EQ(viewer.fetched(), 0) << "all of them are kept";
  for (int64_t i = 100; i <= 100 + kKept; ++i) {
    append(step(i));
    look(page);
  }
  viewer.follow();
  EXPECT_EQ(viewer.fetched(), 1);
  expect_same(viewer, {run_.folder()});
}

TEST_F(Live, WhoComesFromAnotherServerFetchesAll) {
  append(step(1));
  LivePage page({run_.folder()});
  page.add_reader();
  append(step(2));
  look(page);
  LivePage::Place place = {.server = "another", .revision = 1};
  EXPECT_EQ(*page.wait(place, milliseconds(0)), "event: anew\ndata: 2\n\n");
  EXPECT_EQ(*page.wait(place, milliseconds(0)), ": nothing new\n\n");
}

TEST_F(Live, TheEndGivesWhatThereIs) {
  append(step(1));
  LivePage page({run_.folder()});
  Viewer viewer(page);
  append(step(2));
  page.end();
  viewer.follow();
  EXPECT_EQ(viewer.run().at("steps").at("count"), 2);
  LivePage::Place place = {.server = viewer.data().at("live").at("server"),
                           .revision = 2};
  EXPECT_EQ(page.wait(place, seconds(100)), nullptr);
}

TEST_F(Live, MoreStepsOfALongHistory) {
  std::string text;
  for (int64_t i = 1; i <= 20000; ++i) text += step(i).dump() + "\n";
  run_.write_history(text);
  LivePage page({run_.folder()});
  const Json all = Json::parse(*page.data()).at("runs")[0].at("steps");
  EXPECT_EQ(all.at("count"), 20000);
  EXPECT_LT(all.at("index").size(), 20000);
  const Json some = Json::parse(*page.steps(0, 7001, 9000));
  ASSERT_EQ(some.at("index").size(), 2000);
  EXPECT_EQ(some.at("index").front(), 7001);
  EXPECT_EQ(some.at("index").back(), 9000);
  EXPECT_EQ(Json::parse(*page.steps(0, 1, 1 << 30)), all);
  EXPECT_TRUE(Json::parse(*page.steps(0, 9, 3)).at("index").empty());
  EXPECT_TRUE(Json::parse(*page.steps(0, 0, 0)).at("index").empty());
  EXPECT_EQ(page.steps(1, 1, 2), std::nullopt);
}

TEST_F(Live, AnUnreadPageIsLookedAtSeldom) {
  append(step(1));
  LivePage page({run_.folder()});
  append(step(2));
  LivePage::Place place;
  page.wait(place, milliseconds(0));
  const int64_t before = place.revision;
  look(page);
  page.wait(place, milliseconds(0));
  EXPECT_EQ(place.revision, before);
  page.refresh(now_ + LivePage::kBetweenUnread);
  page.wait(place, milliseconds(0));
  EXPECT_EQ(place.revision, before + 1);
}

TEST_F(Live, ThePageIsOfAServer) {
  append(step(1));
  LivePage page({run_.folder()});
  const Text text = page.page();
  EXPECT_TRUE(report::is_html_page(*text));
  EXPECT_THAT(*text, testing::HasSubstr("connect-src 'self'"));
  EXPECT_THAT(*text, testing::HasSubstr("EventSource"));
  EXPECT_EQ(page.page(), text) << "made once";
}

}  // namespace
}  // namespace annuli::watch
