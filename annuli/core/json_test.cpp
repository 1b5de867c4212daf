#include "annuli/core/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

class JsonFile : public testing::Test {
 protected:
  void TearDown() override { fs::remove(path_); }
  fs::path path_ =
      fs::path(testing::TempDir()) / fmt::format("annuli-json-{}", ::getpid());
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

TEST_F(JsonFile, InvalidUtf8IsReplacedNotFatal) {
  write_json(path_, {{"text", "a\xff"}});
  EXPECT_EQ(read_json(path_)["text"], "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace annuli
