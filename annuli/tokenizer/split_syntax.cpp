#include "annuli/tokenizer/split_syntax.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

// Unicode's White_Space. PCRE2's own \s adds U+180E, which Oniguruma's lacks.
constexpr std::string_view kSpaces =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029})"
    R"(\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNonSpaces =
    R"(\x00-\x08\x0e-\x1f\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f})"
    R"(\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e})"
    R"(\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

// Oniguruma's \w in Unicode.
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

constexpr std::string_view kCategories =
    " L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc "
    "Sk So Z Zs Zl Zp C Cc Cf Cn Co ";

bool is_punctuation(char c) {
  return std::ispunct(static_cast<unsigned char>(c)) != 0 && c > 0;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (!done()) translate_one();
    return std::move(out_);
  }

 private:
  bool done() const { return at_ >= pattern_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  bool take(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    user_error(
        "split pattern `{}`: {} at byte {} is not supported; expected what "
        "GPT-2, Llama 3, Qwen and SmolLM2 use: literals, [...], (?:...), "
        "(?i:...), (?!...), \\s, \\d, \\w, \\p{{..}} and quantifiers",
        pattern_, what, at_);
  }

  void translate_one() {
    const char c = peek();
    switch (c) {
      case '\\':
        return translate_escape(false);
      case '[':
        return translate_class();
      case '(':
        return translate_group();
      case ')':
        if (!groups_ignore_case_.empty()) groups_ignore_case_.pop_back();
        break;
      case '{':
        return translate_interval();
      case ']':
      case '}':
        out_ += '\\';
        break;
      case '^':
      case '$':
        refuse("an anchor");
      case '\0':
        refuse("a null byte");
      default:
        break;
    }
    out_ += c;
    ++at_;
  }

  void translate_group() {
    bool ignore_case = ignores_case();
    for (std::string_view head :
         {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}) {
      if (!take(head)) continue;
      out_ += head;
      groups_ignore_case_.push_back(ignore_case || head == "(?i:");
      return;
    }
    if (peek(1) == '?' || peek(1) == '*') refuse("this kind of group");
    groups_ignore_case_.push_back(ignore_case);
    out_ += '(';
    ++at_;
  }

  bool ignores_case() const {
    return !groups_ignore_case_.empty() && groups_ignore_case_.back();
  }

  // {n} {n,} {n,m}; in Ruby a following + or ? means something else.
  void translate_interval() {
    size_t end = at_ + 1;
    const auto digits = [&] {
      const size_t from = end;
      while (end < pattern_.size() && is_digit(pattern_[end])) ++end;
      return end > from;
    };
    if (!digits()) refuse("`{` without a count");
    if (end < pattern_.size() && pattern_[end] == ',') {
      ++end;
      digits();
    }
    if (end >= pattern_.size() || pattern_[end] != '}') {
      refuse("`{` without a count");
    }
    ++end;
    if (end < pattern_.size() &&
        std::string("+?*").find(pattern_[end]) != std::string::npos) {
      refuse("a quantifier after {n,m}");
    }
    out_ += pattern_.substr(at_, end - at_);
    at_ = end;
  }

  void translate_class() {
    ++at_;
    out_ += '[';
    if (take("^")) out_ += '^';
    if (peek() == ']') refuse("an empty class");
    bool after_set = false;
    while (peek() != ']') {
      if (done()) refuse("an unclosed class");
      if (peek() == '[' || pattern_.substr(at_).starts_with("&&")) {
        refuse("a class within a class");
      }
      const bool range_open = peek() == '-' && peek(1) != ']';
      if (after_set && range_open) refuse("a range that starts with a set");
      after_set = false;
      if (range_open && peek(1) == '\\' && is_set(peek(2))) {
        refuse("a range that ends with a set");
      }
      if (peek() == '\\') {
        after_set = is_set(peek(1));
        translate_escape(true);
      } else {
        out_ += peek();
        ++at_;
      }
    }
    out_ += ']';
    ++at_;
  }

  static bool is_set(char c) {
    return std::string_view("sSdDpPw").find(c) != std::string_view::npos;
  }

  void translate_escape(bool in_class) {
    const char c = peek(1);
    switch (c) {
      case 's':
      case 'S': {
        const bool space = c == 's';
        if (in_class) {
          out_ += space ? kSpaces : kNonSpaces;
        } else {
          out_ += space ? "[" : "[^";
          out_ += kSpaces;
          out_ += ']';
        }
        break;
      }
      case 'd':
      case 'D':
        out_ += c == 'd' ? "\\p{Nd}" : "\\P{Nd}";
        break;
      case 'w':
        if (!in_class) out_ += '[';
        out_ += kWord;
        if (!in_class) out_ += ']';
        break;
      case 'p':
      case 'P':
        return translate_property();
      case 'r':
      case 'n':
      case 't':
      case 'f':
        out_ += {'\\', c};
        break;
      case 'x':
      case 'u':
        return translate_code_point();
      default:
        if (!is_punctuation(c)) refuse("this escape");
        out_ += {'\\', c};
    }
    at_ += 2;
  }

  // A bare name is a general category or a script; PCRE2 would take a bare
  // script name for Script_Extensions, Oniguruma for Script.
  void translate_property() {
    const size_t end = pattern_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) {
      refuse("\\p without {..}");
    }
    const std::string name(pattern_.substr(at_ + 3, end - at_ - 3));
    if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) {
          return std::isalpha(static_cast<unsigned char>(c)) || c == '_';
        })) {
      refuse("this property");
    }
    const bool category =
        kCategories.find(" " + name + " ") != std::string_view::npos;
    if (category && ignores_case() && name[0] == 'L' && name.size() == 2) {
      refuse("a letter case within (?i:...)");
    }
    out_ += pattern_.substr(at_, 3);
    out_ += category ? name : "sc:" + name;
    out_ += '}';
    at_ = end + 1;
  }

  // \x{H..}, \xHH below 80 (above it Oniguruma means a raw byte), \uHHHH.
  void translate_code_point() {
    size_t from = at_ + 2;
    size_t length = peek(1) == 'u' ? 4 : 2;
    const bool braced = peek(1) == 'x' && peek(2) == '{';
    if (braced) {
      const size_t end = pattern_.find('}', from);
      if (end == std::string_view::npos) refuse("this code point");
      length = end - ++from;
    }
    const std::string digits(pattern_.substr(from, length));
    if (digits.size() != length || length == 0 || length > 6 ||
        digits.find_first_not_of("0123456789abcdefABCDEF") !=
            std::string::npos) {
      refuse("this code point");
    }
    if (!braced && length == 2 && digits[0] > '7') refuse("a raw byte");
    out_ += "\\x{" + digits + "}";
    at_ = from + length + (braced ? 1 : 0);
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  std::vector<bool> groups_ignore_case_;
};

}  // namespace

std::string to_pcre2(std::string_view pattern) {
  if (valid_utf8_end(pattern, 0) != pattern.size()) {
    user_error("split pattern: found bytes that are not UTF-8");
  }
  return Translator(pattern).run();
}

std::string quoted_pattern(std::string_view text) {
  std::string quoted;
  for (char c : text) {
    if (is_punctuation(c)) quoted += '\\';
    quoted += c;
  }
  return quoted;
}

}  // namespace annuli
