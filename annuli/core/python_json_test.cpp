#include "annuli/core/python_json.h"

#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

TEST(PythonJson, SpecialNumbersBecomeWhatTransformersWrites) {
  EXPECT_EQ(without_special_floats(R"({"a": NaN, "b": [0.0, -Infinity]})"),
            R"({"a": {"__float__": "NaN"}, "b": [0.0, {"__float__": )"
            R"("-Infinity"}]})");
  const std::string text = R"({"NaN": "Infinity \\", "x": "\"NaN", "y": 1})";
  EXPECT_EQ(without_special_floats(text), text);
  for (const char* odd : {"", "\"", "\"\\", "Na", "-", "-Infinit"}) {
    EXPECT_EQ(without_special_floats(odd), odd);
  }
}

TEST(PythonJson, TheRestIsAsItWas) {
  const test::TestFolder folder;
  const fs::path path = folder / "x.json";
  const auto read = [&](const std::string& text) {
    write_file_atomically(path, text);
    return read_python_json(path);
  };
  EXPECT_EQ(read("\xef\xbb\xbf{\"a\": 1}"), Json({{"a", 1}}));
  EXPECT_EQ(read(R"({"a": 1, "a": [2]})"), Json({{"a", {2}}}));
  EXPECT_EQ(read("[Infinity]"), Json({{{"__float__", "Infinity"}}}));
  for (const char* bad : {"{\"a\": 1,}", "// x\n{}", "{\"a\": nan}",
                          "{\"a\": +Infinity}", "NaNNaN", "{NaN: 1}"}) {
    EXPECT_THROW(read(bad), UserError) << bad;
  }
  fs::remove(path);
}

}  // namespace
}  // namespace annuli
