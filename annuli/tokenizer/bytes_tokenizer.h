#pragma once

#include <array>

#include "annuli/tokenizer/added_tokens.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {

// For tests and tiny models: id = byte, and 256 is `<|endoftext|>`, matched in
// the text like any special token. vocab_size is 257.
class BytesTokenizer final : public Tokenizer {
 public:
  BytesTokenizer();

  std::string_view token_bytes(int32_t id) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  int64_t vocab_size() const override { return 257; }
  std::optional<int32_t> end_of_text() const override { return 256; }
  const std::string& hash() const override { return hash_; }
  const std::string& name() const override { return name_; }

 private:
  void append_ids(std::string_view text, EncodeOptions options,
                  std::vector<int32_t>& ids) const override;

  std::string name_ = "bytes";
  std::array<char, 256> bytes_;
  AddedTokenMatcher special_;
  std::string hash_;
};

}  // namespace annuli
