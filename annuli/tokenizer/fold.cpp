#include "annuli/tokenizer/fold.h"

#include <algorithm>
#include <iterator>

namespace annuli {
namespace {

struct Folding {
  char32_t character;
  const char* spelling;  // UTF-8
};

struct Range {
  char32_t first;
  char32_t last;
};

#include "annuli/tokenizer/fold_tables.inc"

template <size_t kSize>
const char* spelling_of(const Folding (&table)[kSize], char32_t character) {
  const auto* found = std::lower_bound(
      std::begin(table), std::end(table), character,
      [](const Folding& f, char32_t c) { return f.character < c; });
  const bool there = found != std::end(table) && found->character == character;
  return there ? found->spelling : nullptr;
}

}  // namespace

std::string_view compatible_spelling(char32_t character) {
  const char* spelling = spelling_of(kCompatible, character);
  return spelling == nullptr ? std::string_view() : spelling;
}

bool append_lower(char32_t character, std::string& out) {
  const char* spelling = spelling_of(kLower, character);
  if (spelling == nullptr) return false;
  out += spelling;
  return true;
}

bool is_accent(char32_t character) {
  const auto* found =
      std::lower_bound(std::begin(kAccents), std::end(kAccents), character,
                       [](const Range& r, char32_t c) { return r.last < c; });
  return found != std::end(kAccents) && found->first <= character;
}

}  // namespace annuli
