#include "annuli/tokenizer/tokenizer.h"

#include <algorithm>
#include <set>

namespace annuli {
namespace {

class Concatenation final : public TextStream {
 public:
  explicit Concatenation(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string add(int32_t id) override {
    return std::string(tokenizer_.token_bytes(id));
  }
  std::string finish() override { return ""; }

 private:
  const Tokenizer& tokenizer_;
};

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text,
                                       EncodeOptions options) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  append_ids(text, options, ids);
  return ids;
}

void Tokenizer::encode_append(std::string_view text, std::vector<int32_t>& ids,
                              EncodeOptions options) const {
  append_ids(text, options, ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids,
                              bool at_start) const {
  const std::unique_ptr<TextStream> pieces = stream(at_start);
  std::string text;
  text.reserve(ids.size() * 4);
  for (int32_t id : ids) text += pieces->add(id);
  return text + pieces->finish();
}

std::unique_ptr<TextStream> Tokenizer::stream(bool) const {
  return std::make_unique<Concatenation>(*this);
}

std::vector<std::string> Tokenizer::special_tokens() const {
  std::set<std::string> tokens;
  const auto add = [&](int32_t id) { tokens.emplace(token_bytes(id)); };
  std::ranges::for_each(begin_ids(), add);
  std::ranges::for_each(end_ids(), add);
  if (end_of_text()) add(*end_of_text());
  tokens.erase("");
  return {tokens.begin(), tokens.end()};
}

}  // namespace annuli
