#include "annuli/core/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

class JsonFile : public testing::Test {
 protected:
  const test::TestFolder folder_;
  const fs::path path_ = folder_ / "x.json";
};

TEST_F(JsonFile, WritesAndReadsBack) {
  const Json json = {{"name", "annuli"}, {"sizes", {1, 2, 3}}, {"x", 0.1}};
  write_json(path_, json);
  EXPECT_EQ(read_json(path_), json);
  EXPECT_TRUE(read_file(path_).ends_with("}\n"));
}

TEST_F(JsonFile, SyntaxErrorsNameFileLineAndColumn) {
  write_file_atomically(path_, "{\n  \"a\": 1,\n  b\n}");
  EXPECT_THAT([&] { read_json(path_); },
              ThrowsMessage<UserError>(AllOf(
                  HasSubstr(path_.string()), HasSubstr("line 3"),
                  Not(HasSubstr("json.exception")), Not(HasSubstr("\n")))));
  write_file_atomically(path_, "");
  EXPECT_THROW(read_json(path_), UserError);
}

TEST_F(JsonFile, DeepNestingIsRefused) {
  const auto nested = [&](size_t depth) {
    write_file_atomically(path_, std::string(depth, '[') + "\"[[\\\"[\"" +
                                     std::string(depth, ']'));
  };
  nested(500);
  EXPECT_NO_THROW(read_json(path_));
  for (const size_t depth : {501, 200'000}) {
    nested(depth);
    EXPECT_THAT([&] { read_json(path_); },
                ThrowsMessage<UserError>(HasSubstr("nested more than 500")));
  }
}

// What the text says of a conversion that it refuses.
template <typename T>
std::string refusal(const Json& json) {
  try {
    json.get<T>();
    return "";
  } catch (const Json::exception& error) {
    return reason_of(error);
  }
}

TEST(JsonIntegers, AreTakenInTheirRange) {
  const Json json = Json::parse(R"([-1, 255, 9223372036854775808])");
  EXPECT_EQ(json[0].get<int8_t>(), -1);
  EXPECT_EQ(json[1].get<uint8_t>(), 255);
  EXPECT_EQ(json[2].get<uint64_t>(), uint64_t{1} << 63);
  EXPECT_EQ(json[1].get<double>(), 255);
  EXPECT_THAT(refusal<uint64_t>(json[0]), HasSubstr("found -1"));
  EXPECT_THAT(refusal<int8_t>(json[1]), HasSubstr("found 255"));
  EXPECT_THAT(refusal<int64_t>(json[2]),
              HasSubstr("found 9223372036854775808"));
}

TEST(JsonIntegers, NothingElseIsMadeOne) {
  const Json json = Json::parse(R"({"sizes": [1, 1.5, 1e23, true, "1", {}]})");
  const Json& sizes = json["sizes"];
  for (size_t i = 1; i < sizes.size(); ++i) {
    EXPECT_THAT(refusal<int64_t>(sizes[i]), HasSubstr("a whole number"));
    EXPECT_THAT(refusal<int>(sizes[i]), HasSubstr("a whole number"));
  }
  EXPECT_EQ(refusal<std::vector<int64_t>>(sizes),
            "(/sizes/1) found 1.5, expected a whole number in its range");
}

// A key of theirs is part of the place.
TEST(JsonIntegers, ARefusalIsOneLine) {
  const Json json = {{"a\nb", 0.5}};
  EXPECT_THAT(refusal<int>(json.at("a\nb")), HasSubstr("(/a\\x0ab)"));
}

TEST_F(JsonFile, InvalidUtf8IsReplacedNotFatal) {
  const Json json = {{"text", "a\xff"}};
  EXPECT_EQ(pretty(json), "{\n  \"text\": \"a\xef\xbf\xbd\"\n}");
  write_json(path_, json);
  EXPECT_EQ(read_json(path_)["text"], "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace annuli
