#include "annuli/tokenizer/bytes_tokenizer.h"

#include "annuli/core/hash.h"

namespace annuli {
namespace {

constexpr int32_t kEndOfTextId = 256;
constexpr std::string_view kEndOfText = "<|endoftext|>";

}  // namespace

BytesTokenizer::BytesTokenizer()
    : special_({{std::string(kEndOfText), kEndOfTextId, true, false}}),
      hash_(sha256_of("annuli bytes 1")) {
  for (int byte = 0; byte < 256; ++byte) bytes_[byte] = static_cast<char>(byte);
}

std::string_view BytesTokenizer::token_bytes(int32_t id) const {
  if (id == kEndOfTextId) return kEndOfText;
  if (!has_token(id)) return {};
  return {&bytes_[id], 1};
}

std::optional<int32_t> BytesTokenizer::token_to_id(
    std::string_view token) const {
  if (token == kEndOfText) return kEndOfTextId;
  if (token.size() != 1) return std::nullopt;
  return static_cast<unsigned char>(token[0]);
}

void BytesTokenizer::append_ids(std::string_view text, EncodeOptions options,
                                std::vector<int32_t>& ids) const {
  special_.split(
      text, options.allow_special,
      [&](std::string_view plain) {
        for (unsigned char byte : plain) ids.push_back(byte);
      },
      [&](int32_t id) { ids.push_back(id); });
}

}  // namespace annuli
