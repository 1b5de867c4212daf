#pragma once

#include <optional>
#include <string>
#include <vector>

#include "annuli/data/token_file.h"
#include "annuli/tokenizer/document_borders.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli::data {

// What a token file has around each document, and what parts documents.
//
// Where it is as it was before a token file could say so (nothing before, the
// tokenizer's end of text after), nothing is recorded and the hash of the
// inputs is what it was: such files stay valid.
class BorderRules {
 public:
  // Without `borders` as the tokenizer's files say.
  BorderRules(const Tokenizer& tokenizer,
              const std::optional<DocumentBorders>& borders,
              std::string split_at);

  const PutBorders& put() const { return put_; }
  const std::string& split_at() const { return split_at_; }
  const std::vector<std::string>& notices() const { return notices_; }

  // For the token file's header.
  std::optional<PutBorders> recorded() const;
  // For the hash of its inputs.
  std::string text() const;

 private:
  std::string split_at_;
  PutBorders put_;
  bool usual_ = false;
  std::vector<std::string> notices_;
};

}  // namespace annuli::data
