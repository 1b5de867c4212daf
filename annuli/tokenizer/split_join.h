#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "annuli/tokenizer/pre_tokenizer.h"

// Joins the matches of a pattern and the stretches between them to the pieces
// that a SplitBehavior asks for. The parts come in order and follow upon each
// other in one text.
namespace annuli {

class SplitJoin {
 public:
  SplitJoin(SplitBehavior behavior, const PreTokenizer::Emit& emit)
      : behavior_(behavior), emit_(emit) {}

  void add(std::string_view part, bool match);
  // Emits what is held; to be called once, at the end.
  void finish();

 private:
  bool joins(bool match) const;

  SplitBehavior behavior_;
  const PreTokenizer::Emit& emit_;
  std::string_view held_;
  bool holds_ = false;
  bool last_match_ = false;
};

}  // namespace annuli
