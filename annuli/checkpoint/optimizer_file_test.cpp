#include "annuli/checkpoint/optimizer_file.h"

#include <ATen/ops/arange.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/test_files.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

using test::TestFolder;
using test::user_error_of;
using ::testing::HasSubstr;

// A folder with the state of one tensor, "b".
class OptimizerFileTest : public ::testing::Test {
 protected:
  OptimizerFileTest() {
    write_safetensors(folder_ / kOptimizerTensors,
                      {{"m.b", at::arange(6, at::kFloat).view({2, 3})}});
    write_optimizer_rows(folder_.path(), rows_, "adamw");
  }

  // What is said of the file if the row's `key` is `value`.
  std::string said_of(const std::string& key, const Json& value) {
    Json json = read_json(folder_ / kOptimizerRows);
    json["tensors"]["b"][key] = value;
    write_json(folder_ / kOptimizerRows, json);
    return user_error_of([&] { OptimizerFile::open(folder_.path()); });
  }

  const TestFolder folder_;
  const OptimizerRows rows_ = {{"b", {.step = 3, .lr_multiplier = 0.5}}};
};

TEST_F(OptimizerFileTest, RoundTrips) {
  const auto file = OptimizerFile::open(folder_.path());
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->rows(), rows_);
  EXPECT_EQ(file->optimizer(), "adamw");
  EXPECT_EQ(file->part("m", "b").sum().item<double>(), 15);
}

// How often growth has copied a matrix is said where it has, so that files from
// before say nothing else.
TEST_F(OptimizerFileTest, CopiesAreSaidWhereThereAreSome) {
  EXPECT_FALSE(
      read_json(folder_ / kOptimizerRows)["tensors"]["b"].contains("copies"));
  const OptimizerRows copied = {
      {"b", {.step = 3, .row_copies = 2, .column_copies = 6}}};
  write_optimizer_rows(folder_.path(), copied, "muon");
  EXPECT_EQ(OptimizerFile::open(folder_.path())->rows(), copied);
}

TEST_F(OptimizerFileTest, CopiesArePositiveNumbers) {
  EXPECT_THAT(said_of("copies", {2, 0}), HasSubstr("found copies [2,0]"));
  EXPECT_THAT(said_of("copies", {-1, 2}), HasSubstr("found copies [-1,2]"));
  EXPECT_THAT(said_of("copies", {2}), HasSubstr("reading "));
  EXPECT_THAT(said_of("copies", 2), HasSubstr("reading "));
}

// A fraction would be cut, and what no integer holds is undefined.
TEST_F(OptimizerFileTest, StepsAreWholeNumbers) {
  EXPECT_THAT(said_of("step", 1e20),
              HasSubstr("(/tensors/b/step) found 1e+20"));
  EXPECT_THAT(said_of("step", 2.5), HasSubstr("found 2.5"));
  EXPECT_THAT(said_of("step", "3"), HasSubstr("whole number"));
  EXPECT_THAT(said_of("step", true), HasSubstr("whole number"));
}

}  // namespace
}  // namespace annuli
