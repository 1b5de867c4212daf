#include "annuli/checkpoint/lineage.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/test_files.h"
#include "annuli/core/hash.h"

namespace annuli {
namespace {

using test::TestFolder;
using test::user_error_of;

Lineage two_steps() {
  Lineage lineage;
  append(lineage, {.op = "initialize",
                   .arguments = {{"seed", 3}},
                   .seed = ~uint64_t{0},
                   .child = "aa"});
  append(lineage, {.op = "widen",
                   .arguments = {{"factor", 2}},
                   .parent = "aa",
                   .child = "bb",
                   .tensors = Json::parse(R"([{"child": "x"}])"),
                   .verdicts = Json::parse(R"([{"passed": true}])"),
                   .versions = program_versions()});
  return lineage;
}

TEST(Lineage, RoundTrips) {
  const TestFolder folder;
  write_lineage(folder / "lineage.json", two_steps());
  EXPECT_EQ(read_lineage(folder / "lineage.json"), two_steps());
  Lineage other = two_steps();
  other[1].seed = 4;
  EXPECT_NE(read_lineage(folder / "lineage.json"), other);
  EXPECT_TRUE(two_steps()[1].versions.at("torch").is_string());
}

TEST(Lineage, TakesOnlyWhatContinuesIt) {
  Lineage lineage = two_steps();
  EXPECT_THROW(append(lineage, {.op = "train", .parent = "aa", .child = "cc"}),
               CheckFailure);
  append(lineage, {.op = "train", .parent = "bb", .child = "cc"});
  EXPECT_EQ(lineage.size(), 3);
}

TEST(Lineage, RefusesBrokenOnes) {
  const auto error_of = [](const auto& spoil) {
    Json json = to_json(two_steps());
    spoil(json);
    return user_error_of([&] { lineage_from_json(json, "here.json"); });
  };
  EXPECT_EQ(error_of([](Json&) {}), "");
  EXPECT_THAT(error_of([](Json& json) { json["records"][1]["parent"] = "c"; }),
              testing::HasSubstr("ends with aa"));
  EXPECT_THAT(error_of([](Json& json) { json["records"][0].erase("seed"); }),
              testing::HasSubstr("here.json"));
  EXPECT_THAT(error_of([](Json& json) { json["records"][0]["seed"] = "x"; }),
              testing::HasSubstr("here.json"));
  EXPECT_THAT(error_of([](Json& json) { json["format_version"] = 9; }),
              testing::HasSubstr("format_version 9"));
  EXPECT_NE(error_of([](Json& json) { json = Json::array(); }), "");
}

TEST(Lineage, RefusesOtherTypes) {
  const auto error_of = [](const char* key, const char* value) {
    Json json = to_json(two_steps());
    json["records"][1][key] = Json::parse(value);
    return user_error_of([&] { lineage_from_json(json, "here.json"); });
  };
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, const char*>>{
           {"seed", "1.5"},
           {"arguments", "3"},
           {"tensors", "{}"},
           {"verdicts", "[1]"},
           {"verdicts", R"([{"passed": "yes"}])"},
           {"verdicts", R"([{"passed": true, "check": 1}])"},
           {"versions", "[]"},
           {"versions", R"({"annuli": 1})"},
           {"replay", "null"}}) {
    EXPECT_THAT(error_of(key, value),
                testing::HasSubstr(fmt::format("found another '{}'", key)))
        << value;
  }
  EXPECT_EQ(error_of("arguments", R"([{"widen": {}}])"), "");  // a chain's
}

std::vector<NamedTensor> some_tensors() {
  return {{"x", at::arange(100, at::kFloat)},
          {"y", at::arange(6, at::kDouble).reshape({2, 3})},
          {"z", at::full({}, 1, at::kFloat)}};
}

TEST(ContentHash, DependsOnEverythingStated) {
  const std::string hash = content_hash(some_tensors());
  EXPECT_EQ(content_hash(some_tensors()), hash);
  std::vector<std::vector<NamedTensor>> others;
  for (int i = 0; i < 6; ++i) others.push_back(some_tensors());
  others[0][0].name = "w";
  others[1][0].tensor[99] += 1;
  others[2][1].tensor = others[2][1].tensor.reshape({3, 2});
  others[3][2].tensor = at::full({1}, 1, at::kFloat);
  others[4].pop_back();
  std::swap(others[5][0], others[5][1]);
  // The same bytes under another type.
  others.push_back({{"z", at::full({}, 0, at::kFloat)}});
  others.push_back({{"z", at::full({}, 0, at::kInt)}});
  std::set<std::string> distinct{hash};
  for (const auto& other : others) distinct.insert(content_hash(other));
  EXPECT_EQ(distinct.size(), others.size() + 1);
}

TEST(ContentHash, IsTheStatedFormula) {
  const float value = 1;
  Sha256 tensor;
  tensor.update("1:z F32 [] 4 ");
  tensor.update(&value, sizeof(value));
  EXPECT_EQ(content_hash({{"z", at::full({}, 1, at::kFloat)}}),
            sha256_of(tensor.hex()));
  EXPECT_EQ(content_hash(std::vector<NamedTensor>{}), sha256_of(""));
}

TEST(ContentHash, IsTheSameOnAnyNumberOfThreads) {
  std::vector<NamedTensor> tensors;
  for (int64_t i = 0; i < 50; ++i) {
    tensors.push_back({std::to_string(i), at::full({i * 10}, i, at::kFloat)});
  }
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const std::string one = content_hash(tensors);
  at::set_num_threads(4);
  EXPECT_EQ(content_hash(tensors), one);
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace annuli
