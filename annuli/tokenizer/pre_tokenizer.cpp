#include "annuli/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/split_join.h"

namespace annuli {

const char* const PreTokenizer::kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|\s+(?!\S)|\s+)";

void PreTokenizer::add_split(std::string pattern, SplitBehavior behavior,
                             bool invert) {
  patterns_.emplace_back(std::move(pattern));
  Stage stage{Kind::kSplit};
  stage.pattern = patterns_.size() - 1;
  stage.behavior = behavior;
  stage.invert = invert;
  stages_.push_back(std::move(stage));
}

void PreTokenizer::add_prefix_space() {
  stages_.push_back({Kind::kPrefixSpace});
}

void PreTokenizer::add_metaspace(std::string mark, Prepend prepend,
                                 bool split) {
  Stage stage{Kind::kMetaspace};
  stage.mark = std::move(mark);
  stage.prepend = prepend;
  stage.split = split;
  stages_.push_back(std::move(stage));
}

void PreTokenizer::add_byte_alphabet() {
  byte_stage_ = stages_.size();
  stages_.push_back({Kind::kByteAlphabet});
}

// Nothing looks at the spelling where no stage comes after it.
bool PreTokenizer::spells_bytes() const {
  return byte_stage_ && *byte_stage_ + 1 < stages_.size();
}

PreTokenizer::Workspace PreTokenizer::make_workspace() const {
  Workspace workspace;
  for (const SplitPattern& pattern : patterns_) workspace.emplace_back(pattern);
  return workspace;
}

void PreTokenizer::split(std::string_view text, bool at_start,
                         Workspace& workspace, const Emit& emit) const {
  if (text.empty()) return;
  if (!spells_bytes()) return run_stage(0, {text, at_start}, workspace, emit);
  run_stage(0, {text, at_start}, workspace, [&](std::string_view spelled) {
    const auto bytes = bytes_of_spelling(spelled);
    ANNULI_CHECK(bytes.has_value(), "a word '{}' outside the byte alphabet",
                 spelled);
    emit(*bytes);
  });
}

void PreTokenizer::run_stage(size_t stage, Piece piece, Workspace& workspace,
                             const Emit& emit) const {
  if (stage == stages_.size()) return emit(piece.text);
  switch (stages_[stage].kind) {
    case Kind::kSplit:
      return run_split(stage, piece, workspace, emit);
    case Kind::kPrefixSpace:
      return run_prefix_space(stage, piece, workspace, emit);
    case Kind::kMetaspace:
      return run_metaspace(stage, piece, workspace, emit);
    case Kind::kByteAlphabet: {
      if (!spells_bytes()) return run_stage(stage + 1, piece, workspace, emit);
      std::string spelled;
      for (unsigned char byte : piece.text) spelled += spell_byte(byte);
      return run_stage(stage + 1, {spelled, piece.at_start}, workspace, emit);
    }
  }
}

void PreTokenizer::run_split(size_t stage, Piece piece, Workspace& workspace,
                             const Emit& emit) const {
  const Stage& self = stages_[stage];
  const SplitPattern& pattern = patterns_[self.pattern];
  SplitPattern::Workspace& matches = workspace[self.pattern];
  const bool isolated = self.behavior == SplitBehavior::kIsolated;
  const bool alphabet_last = byte_level() && !spells_bytes();
  if (isolated && stage + (alphabet_last ? 2 : 1) == stages_.size()) {
    return pattern.split(piece.text, matches, emit);
  }
  const Emit next = [&](std::string_view part) {
    const bool first = part.data() == piece.text.data();
    run_stage(stage + 1, {part, piece.at_start && first}, workspace, emit);
  };
  if (isolated) return pattern.split(piece.text, matches, next);
  SplitJoin join(self.behavior, next);
  pattern.find(piece.text, matches, [&](std::string_view part, bool match) {
    join.add(part, match != self.invert);
  });
  join.finish();
}

void PreTokenizer::run_prefix_space(size_t stage, Piece piece,
                                    Workspace& workspace,
                                    const Emit& emit) const {
  if (piece.text.starts_with(' ')) {
    return run_stage(stage + 1, piece, workspace, emit);
  }
  std::string prefixed(" ");
  prefixed += piece.text;
  run_stage(stage + 1, {prefixed, piece.at_start}, workspace, emit);
}

void PreTokenizer::run_metaspace(size_t stage, Piece piece,
                                 Workspace& workspace, const Emit& emit) const {
  const Stage& self = stages_[stage];
  std::string text;
  text.reserve(piece.text.size() + piece.text.size() / 2 + 4);
  const bool marked =
      piece.text.starts_with(' ') || piece.text.starts_with(self.mark);
  const bool here = self.prepend == Prepend::kAlways ||
                    (self.prepend == Prepend::kFirst && piece.at_start);
  if (here && !marked) text += self.mark;
  for (const char byte : piece.text) {
    if (byte == ' ') {
      text += self.mark;
    } else {
      text += byte;
    }
  }
  const std::string_view all(text);
  for (size_t at = 0; at < all.size();) {
    size_t end = self.split ? all.find(self.mark, at + 1) : all.npos;
    end = std::min(end, all.size());
    run_stage(stage + 1, {all.substr(at, end - at), piece.at_start && at == 0},
              workspace, emit);
    at = end;
  }
}

std::string PreTokenizer::description() const {
  static constexpr const char* kBehaviors[] = {"", "removed ", "with previous ",
                                               "with next ", "contiguous "};
  static constexpr const char* kPrepends[] = {"never", "first", "always"};
  std::string text;
  for (const Stage& stage : stages_) {
    switch (stage.kind) {
      case Kind::kSplit:
        text += "split ";
        text += stage.invert ? "inverted " : "";
        text += kBehaviors[static_cast<int>(stage.behavior)];
        text += patterns_[stage.pattern].pattern();
        break;
      case Kind::kPrefixSpace:
        text += "prefix space";
        break;
      case Kind::kMetaspace:
        text += fmt::format("metaspace {} {} {}", stage.mark,
                            kPrepends[static_cast<int>(stage.prepend)],
                            stage.split);
        break;
      case Kind::kByteAlphabet:
        if (!spells_bytes()) continue;
        text += "byte alphabet";
        break;
    }
    text += '\n';
  }
  return text;
}

}  // namespace annuli
