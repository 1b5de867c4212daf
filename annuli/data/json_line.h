#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "annuli/core/file.h"

// The text in one line of a .jsonl file.
namespace annuli::data {

struct LinePlace {
  const fs::path& path;
  int64_t number = 0;  // from 1
};

struct LineText {
  std::string text;
  int64_t lone_surrogates = 0;  // that became U+FFFD
};

// The string in the field `column` of the object that the line is, read as
// Python's `json.loads` reads it: of a key that is there twice the last value
// counts. A UserError for anything else; where the object has other fields that
// hold text it names them.
LineText text_of_line(std::string_view line, const std::string& column,
                      const LinePlace& place);

}  // namespace annuli::data
