#include "annuli/data/border_rules.h"

#include <fmt/format.h>

#include <utility>

namespace annuli::data {

BorderRules::BorderRules(const Tokenizer& tokenizer,
                         const std::optional<DocumentBorders>& borders,
                         std::string split_at)
    : split_at_(std::move(split_at)) {
  const DocumentBorders found =
      borders ? *borders : document_borders(tokenizer);
  put_ = {found.before_document(), found.end};
  notices_ = found.notices;
  PutBorders usual;
  if (tokenizer.end_of_text()) usual.end = {*tokenizer.end_of_text()};
  usual_ = put_ == usual;
}

std::optional<PutBorders> BorderRules::recorded() const {
  return usual_ ? std::nullopt : std::optional(put_);
}

std::string BorderRules::text() const {
  const auto& [begin, end] = put_;
  std::string text =
      begin.empty() && end.size() <= 1
          ? fmt::format("\nend of text {}\n", end.empty() ? -1 : end[0])
          : fmt::format("\nbegin {} end {}\n", fmt::join(begin, " "),
                        fmt::join(end, " "));
  if (!split_at_.empty()) {
    text += fmt::format("split at {}: {}\n", split_at_.size(), split_at_);
  }
  return text;
}

}  // namespace annuli::data
