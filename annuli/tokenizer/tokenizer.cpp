#include "annuli/tokenizer/tokenizer.h"

namespace annuli {

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

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  text.reserve(ids.size() * 4);
  for (int32_t id : ids) text += token_bytes(id);
  return text;
}

}  // namespace annuli
