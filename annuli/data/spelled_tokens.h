#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/tokenizer/added_tokens.h"
#include "annuli/tokenizer/tokenizer.h"

// Counts the places where a text spells a special token. Such a place stays
// plain text in a token file; often it was meant to part documents.
namespace annuli::data {

class SpelledTokens {
 public:
  explicit SpelledTokens(const Tokenizer& tokenizer);

  void count(std::string_view text);
  int64_t total() const;

  // A line that says how many and what to do; "" if there are none.
  std::string notice() const;

 private:
  std::vector<std::string> tokens_;
  std::vector<int64_t> counts_;  // of each
  AddedTokenMatcher matcher_;    // its ids are their places in the list
};

}  // namespace annuli::data
