#include "annuli/tokenizer/pre_tokenizer.h"

namespace annuli {

const char* const PreTokenizer::kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|\s+(?!\S)|\s+)";

void PreTokenizer::add_split(std::string pattern) {
  patterns_.emplace_back(std::move(pattern));
  stages_.push_back({static_cast<int>(patterns_.size()) - 1});
}

void PreTokenizer::add_prefix_space() { stages_.push_back({-1}); }

PreTokenizer::Workspace PreTokenizer::make_workspace() const {
  Workspace workspace;
  for (const SplitPattern& pattern : patterns_) workspace.emplace_back(pattern);
  return workspace;
}

void PreTokenizer::split(std::string_view text, Workspace& workspace,
                         const Emit& emit) const {
  if (!text.empty()) run_stage(0, text, workspace, emit);
}

void PreTokenizer::run_stage(size_t stage, std::string_view piece,
                             Workspace& workspace, const Emit& emit) const {
  if (stage == stages_.size()) return emit(piece);
  const int pattern = stages_[stage].pattern;
  if (pattern < 0) {
    if (piece.starts_with(' ')) {
      return run_stage(stage + 1, piece, workspace, emit);
    }
    std::string prefixed(" ");
    prefixed += piece;
    return run_stage(stage + 1, prefixed, workspace, emit);
  }
  if (stage + 1 == stages_.size()) {
    return patterns_[pattern].split(piece, workspace[pattern], emit);
  }
  patterns_[pattern].split(piece, workspace[pattern],
                           [&](std::string_view part) {
                             run_stage(stage + 1, part, workspace, emit);
                           });
}

std::string PreTokenizer::description() const {
  std::string text;
  for (const Stage& stage : stages_) {
    text += stage.pattern < 0 ? "prefix space"
                              : "split " + patterns_[stage.pattern].pattern();
    text += '\n';
  }
  return text;
}

}  // namespace annuli
