#include "annuli/profile/trace_file.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"

namespace annuli::profile {
namespace {

// What a viewer demands of a trace; the first fault as text, or nothing.
std::string fault_of(const Json& trace) {
  using Thread = std::pair<int, int>;  // pid, tid
  std::set<Thread> named;
  std::map<Thread, std::vector<std::pair<int64_t, int64_t>>> spans;  // ns
  for (const Json& line : trace.at("traceEvents")) {
    const Thread thread{line.at("pid"), line.at("tid")};
    if (line.at("ph") == "M") {
      if (line.at("name") == "thread_name") named.insert(thread);
      continue;
    }
    const auto begin = std::llround(line.at("ts").get<double>() * 1000);
    const auto length = std::llround(line.at("dur").get<double>() * 1000);
    if (begin < 0 || length < 0) return "a time is negative";
    spans[thread].emplace_back(begin, begin + length);
  }
  for (auto& [thread, list] : spans) {
    if (!named.contains(thread)) return "a thread has no name";
    std::ranges::sort(list, [](const auto& a, const auto& b) {
      return std::tuple(a.first, -a.second) < std::tuple(b.first, -b.second);
    });
    std::vector<int64_t> open;
    for (const auto& [begin, end] : list) {
      while (!open.empty() && open.back() <= begin) open.pop_back();
      if (!open.empty() && end > open.back()) return "events do not nest";
      open.push_back(end);
    }
  }
  return "";
}

class TraceFile : public testing::Test {
 protected:
  Json write(const std::vector<NamedRecording>& recordings) {
    const test::TestFolder folder;
    write_trace(folder / "trace.json", recordings);
    return read_json(folder / "trace.json");
  }
};

Recording recorded() {
  const at::Tensor a = at::ones({16, 16});
  Recorder recorder;
  for (int i = 0; i < 20; ++i) {
    RECORD_USER_SCOPE("step \"quoted\"");
    at::mm(a, a);
  }
  return recorder.finish();
}

TEST_F(TraceFile, NestsAndNamesThreadsOfARealRecording) {
  const Json trace = write({{"dense", recorded()}, {"moe", recorded()}});
  EXPECT_EQ(fault_of(trace), "");
  int products = 0;
  for (const Json& line : trace.at("traceEvents")) {
    if (line.at("name") != "aten::mm") continue;
    ++products;
    EXPECT_EQ(line.at("args").at("shape"), Json({1, 16, 16, 16}));
  }
  EXPECT_EQ(products, 40);
}

TEST_F(TraceFile, FaultsWouldBeSeen) {
  Recording recording;
  recording.threads = {"main"};
  recording.events = {{.name = "a", .begin = 0, .end = 10},
                      {.name = "b", .begin = 5, .end = 15}};
  EXPECT_EQ(fault_of(write({{"crossing", recording}})), "events do not nest");
  recording.events = {{.name = "a", .begin = 0, .end = 10, .thread = 1}};
  EXPECT_EQ(fault_of(write({{"nameless", recording}})), "a thread has no name");
}

// Beyond 2^53 ns from the clock's start doubles would round.
TEST_F(TraceFile, TimesCountFromTheFirstEvent) {
  Recording recording;
  recording.threads = {"main"};
  const int64_t late = int64_t{1} << 60;
  recording.events = {{.name = "a", .begin = late + 1, .end = late + 2},
                      {.name = "b", .begin = late, .end = late + 1'234'567}};
  const Json trace = write({{"late", recording}});
  EXPECT_EQ(fault_of(trace), "");
  const Json& last = trace.at("traceEvents").back();
  EXPECT_DOUBLE_EQ(last.at("ts").get<double>(), 0);
  EXPECT_DOUBLE_EQ(last.at("dur").get<double>(), 1234.567);
}

}  // namespace
}  // namespace annuli::profile
