#pragma once

#include <gmock/gmock.h>

#include <string>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/data/text_notes.h"

// For tests of finding and reading texts.
namespace annuli::data {

class TextTest : public DataTest {
 protected:
  // A refusal of one line that says `reason`.
  static auto refused(const std::string& reason) {
    using testing::AllOf;
    using testing::HasSubstr;
    using testing::Not;
    return testing::ThrowsMessage<UserError>(
        AllOf(HasSubstr(reason), Not(HasSubstr("\n"))));
  }
  std::string in(const std::string& name) const {
    return (folder_ / name).string();
  }

  TextNotes notes_;
};

}  // namespace annuli::data
