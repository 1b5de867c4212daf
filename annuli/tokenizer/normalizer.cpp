#include "annuli/tokenizer/normalizer.h"

namespace annuli {

void Normalizer::add(std::unique_ptr<const NormalizerStep> step) {
  steps_.push_back(std::move(step));
}

std::string_view Normalizer::apply(std::string_view text, std::string& buffer,
                                   bool& at_start) const {
  for (const auto& step : steps_) {
    if (text.empty()) break;
    if (step->keeps(text)) continue;
    if (at_start && step->cuts_start(text)) at_start = false;
    std::string next;
    next.reserve(text.size() + text.size() / 2);
    step->append(text, next);
    buffer = std::move(next);
    text = buffer;
  }
  return text;
}

std::string Normalizer::apply(std::string_view text) const {
  std::string buffer;
  bool at_start = true;
  return std::string(apply(text, buffer, at_start));
}

std::string Normalizer::description() const {
  std::string text;
  for (const auto& step : steps_) text += step->description() + '\n';
  return text;
}

}  // namespace annuli
