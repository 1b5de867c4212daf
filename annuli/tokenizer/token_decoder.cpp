#include "annuli/tokenizer/token_decoder.h"

#include <utility>

namespace annuli {
namespace {

class TextSink final : public TokenSink {
 public:
  explicit TextSink(std::string* text) : text_(text) {}
  void add(std::string_view token) override { *text_ += token; }
  void finish() override {}

 private:
  std::string* text_;
};

}  // namespace

void TokenDecoder::add(DecoderStepPointer step) {
  steps_.push_back(std::move(step));
}

std::unique_ptr<TokenSink> TokenDecoder::sink(std::string* text,
                                              bool at_start) const {
  std::unique_ptr<TokenSink> chain = std::make_unique<TextSink>(text);
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    chain = (*step)->sink(std::move(chain), at_start);
  }
  return chain;
}

std::string TokenDecoder::middle(std::string token) const {
  for (const auto& step : steps_) token = step->middle(std::move(token));
  return token;
}

}  // namespace annuli
