#include "annuli/tokenizer/split_join.h"

namespace annuli {

// Whether a part joins the one that is held.
bool SplitJoin::joins(bool match) const {
  switch (behavior_) {
    case SplitBehavior::kWithPrevious:
      return match && !last_match_;
    case SplitBehavior::kWithNext:
      return !match && last_match_;
    case SplitBehavior::kContiguous:
      return match == last_match_;
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved:
      return false;
  }
  return false;
}

void SplitJoin::add(std::string_view part, bool match) {
  if (behavior_ == SplitBehavior::kRemoved && match) return;
  if (holds_ && joins(match)) {
    held_ = {held_.data(), held_.size() + part.size()};
  } else {
    if (holds_) emit_(held_);
    held_ = part;
    holds_ = true;
  }
  last_match_ = match;
}

void SplitJoin::finish() {
  if (holds_) emit_(held_);
  holds_ = false;
}

}  // namespace annuli
