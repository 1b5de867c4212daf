#include "annuli/tokenizer/nfc.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <unordered_map>
#include <vector>

#include "annuli/tokenizer/fold.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

struct Decomposition {
  char32_t character;
  char32_t first;
  char32_t second;  // 0: the character is another spelling of `first`
};

struct ClassRange {
  char32_t from;
  char32_t to;
  uint8_t combining_class;
};

#include "annuli/tokenizer/nfc_tables.inc"

// Hangul syllables are composed by arithmetic (Unicode 3.12).
constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161,
                   kTails = 0x11A7;
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTailCount;

struct Tables {
  std::unordered_map<char32_t, Decomposition> decomposed;
  std::unordered_map<uint64_t, char32_t> composed;

  Tables() {
    for (const Decomposition& d : kComposed) {
      decomposed[d.character] = d;
      composed[key(d.first, d.second)] = d.character;
    }
    for (const Decomposition& d : kOneWay) decomposed[d.character] = d;
  }
  static uint64_t key(char32_t first, char32_t second) {
    return (uint64_t{first} << 32) | second;
  }
};

const Tables& tables() {
  static const Tables instance;
  return instance;
}

uint8_t combining_class(char32_t c) {
  const auto* range = std::lower_bound(
      std::begin(kClasses), std::end(kClasses), c,
      [](const ClassRange& r, char32_t x) { return r.to < x; });
  const bool inside = range != std::end(kClasses) && range->from <= c;
  return inside ? range->combining_class : 0;
}

void decompose(char32_t c, std::vector<char32_t>& out) {
  if (c >= kSyllables && c < kSyllables + kSyllableCount) {
    const char32_t index = c - kSyllables;
    const char32_t tail = index % kTailCount;
    out.push_back(kLeads + index / (kVowelCount * kTailCount));
    out.push_back(kVowels + index / kTailCount % kVowelCount);
    if (tail != 0) out.push_back(kTails + tail);
    return;
  }
  const auto found = tables().decomposed.find(c);
  if (found == tables().decomposed.end()) return out.push_back(c);
  decompose(found->second.first, out);
  if (found->second.second != 0) decompose(found->second.second, out);
}

// The character that `first` then `second` compose to, or 0.
char32_t compose(char32_t first, char32_t second) {
  const char32_t lead = first - kLeads;
  const char32_t vowel = second - kVowels;
  if (lead < kLeadCount && vowel < kVowelCount) {
    return kSyllables + (lead * kVowelCount + vowel) * kTailCount;
  }
  const char32_t syllable = first - kSyllables;
  const char32_t tail = second - kTails;
  if (syllable < kSyllableCount && syllable % kTailCount == 0 && tail > 0 &&
      tail < kTailCount) {
    return first + tail;
  }
  const auto found = tables().composed.find(Tables::key(first, second));
  return found == tables().composed.end() ? 0 : found->second;
}

// Stable sort of each run of non-starters by combining class.
void reorder(std::vector<char32_t>& text) {
  auto begin = text.begin();
  while (begin != text.end()) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(
        begin, text.end(), [](char32_t c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end, [](char32_t a, char32_t b) {
      return combining_class(a) < combining_class(b);
    });
    begin = end;
  }
}

// Joins each character to the last starter unless something between them of
// the same or a higher class blocks it.
void recompose(std::vector<char32_t>& text) {
  size_t out = 0;
  size_t starter = text.size();
  int last_class = -1;  // of what was kept since the starter; -1: nothing
  for (const char32_t c : std::vector<char32_t>(text)) {
    const int own_class = combining_class(c);
    const bool blocked = last_class >= own_class;
    if (starter < out && !blocked) {
      if (const char32_t joined = compose(text[starter], c); joined != 0) {
        text[starter] = joined;
        continue;
      }
    }
    if (own_class == 0) {
      starter = out;
      last_class = -1;
    } else {
      last_class = own_class;
    }
    text[out++] = c;
  }
  text.resize(out);
}

bool composes(NormalForm form) {
  return form == NormalForm::kNfc || form == NormalForm::kNfkc;
}

bool is_compatible(NormalForm form) {
  return form == NormalForm::kNfkc || form == NormalForm::kNfkd;
}

// The lead byte of the first character that the form may change: nothing below
// U+0300 composes, U+00C0 is the first to decompose, U+00A0 the first to have
// another spelling.
unsigned char first_changing_lead(NormalForm form) {
  if (is_compatible(form)) return 0xC2;
  return composes(form) ? 0xCC : 0xC3;
}

void decompose_all(std::string_view text, bool compatible,
                   std::vector<char32_t>& out) {
  for (size_t at = 0; at < text.size();) {
    const char32_t character = decode_utf8(text, at);
    const std::string_view other =
        compatible ? compatible_spelling(character) : std::string_view();
    if (other.empty()) {
      decompose(character, out);
    } else {
      for (size_t i = 0; i < other.size();) {
        out.push_back(decode_utf8(other, i));
      }
    }
  }
}

}  // namespace

std::string name_of(NormalForm form) {
  static constexpr const char* kNames[] = {"NFC", "NFD", "NFKC", "NFKD"};
  return kNames[static_cast<int>(form)];
}

bool surely_in_form(std::string_view text, NormalForm form) {
  const unsigned char lead = first_changing_lead(form);
  return std::none_of(text.begin(), text.end(), [&](char c) {
    return static_cast<unsigned char>(c) >= lead;
  });
}

std::string to_form(std::string_view text, NormalForm form) {
  std::vector<char32_t> characters;
  characters.reserve(text.size());
  decompose_all(text, is_compatible(form), characters);
  reorder(characters);
  if (composes(form)) recompose(characters);
  std::string normalized;
  normalized.reserve(text.size());
  for (char32_t c : characters) append_utf8(normalized, c);
  return normalized;
}

}  // namespace annuli
