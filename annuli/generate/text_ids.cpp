#include "annuli/generate/text_ids.h"

#include <algorithm>

namespace annuli {

std::vector<int32_t> ids_without_token(const Tokenizer& tokenizer,
                                       int64_t vocab_size) {
  std::vector<int32_t> ids;
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (!tokenizer.has_token(static_cast<int32_t>(id))) {
      ids.push_back(static_cast<int32_t>(id));
    }
  }
  return ids;
}

std::vector<int32_t> prompt_ids(std::string_view text,
                                const Tokenizer& tokenizer,
                                std::span<const int32_t> begin) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  const size_t length = begin.size();
  const bool spelled = ids.size() >= length &&
                       std::equal(begin.begin(), begin.end(), ids.begin());
  if (!spelled) ids.insert(ids.begin(), begin.begin(), begin.end());
  return ids;
}

}  // namespace annuli
