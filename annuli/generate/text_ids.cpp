#include "annuli/generate/text_ids.h"

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

}  // namespace annuli
