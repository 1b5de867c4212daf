#include "annuli/data/standard_json.h"

#include <algorithm>
#include <charconv>

namespace annuli::data {
namespace {

bool is_high(uint32_t unit) { return unit >= 0xd800 && unit <= 0xdbff; }
bool is_low(uint32_t unit) { return unit >= 0xdc00 && unit <= 0xdfff; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Rewriter {
 public:
  explicit Rewriter(std::string_view json) : json_(json) {}

  std::string rewrite() {
    while (at_ < json_.size()) {
      if (json_[at_] == '"') {
        skip_string();
      } else if (!replace("NaN", "0") && !replace("Infinity", "0") &&
                 !replace("-Infinity", "-0") && !number()) {
        ++at_;
      }
    }
    return std::move(json_);
  }
  int64_t lone_surrogates() const { return lone_surrogates_; }

 private:
  // The word goes only where it is not a part of a longer one.
  bool replace(std::string_view word, std::string_view by) {
    const std::string_view rest = std::string_view(json_).substr(at_);
    if (!rest.starts_with(word)) return false;
    const auto ends = [](char c) {
      return std::string_view(" \t\r,:[]{}").find(c) != std::string_view::npos;
    };
    if (at_ > 0 && !ends(json_[at_ - 1])) return false;
    if (rest.size() > word.size() && !ends(rest[word.size()])) return false;
    std::fill_n(json_.begin() + static_cast<std::ptrdiff_t>(at_), word.size(),
                ' ');
    json_.replace(at_, by.size(), by);
    at_ += word.size();
    return true;
  }

  bool number() {
    if (!is_digit(json_[at_])) return false;
    while (at_ < json_.size() && (is_digit(json_[at_]) || json_[at_] == '.')) {
      ++at_;
    }
    if (at_ == json_.size() || (json_[at_] != 'e' && json_[at_] != 'E')) {
      return true;
    }
    ++at_;
    if (at_ < json_.size() && (json_[at_] == '+' || json_[at_] == '-')) ++at_;
    while (at_ < json_.size() && is_digit(json_[at_])) json_[at_++] = '0';
    return true;
  }

  void skip_string() {
    ++at_;
    while (at_ < json_.size() && json_[at_] != '"') {
      if (json_[at_] != '\\') {
        ++at_;
      } else if (at_ + 1 < json_.size() && json_[at_ + 1] == 'u') {
        escape();
      } else {
        at_ += 2;
      }
    }
    ++at_;
  }

  void escape() {
    const uint32_t unit = unit_at(at_);
    if (is_high(unit) && is_low(unit_at(at_ + 6))) {
      at_ += 12;
      return;
    }
    if (is_high(unit) || is_low(unit)) {
      json_.replace(at_, 6, "\\ufffd");
      ++lone_surrogates_;
    }
    at_ += 2;
  }

  // The code unit that is escaped there, or 0.
  uint32_t unit_at(size_t at) const {
    const std::string_view text = json_;
    if (at > text.size() || !text.substr(at).starts_with("\\u") ||
        text.size() - at < 6) {
      return 0;
    }
    uint32_t unit = 0;
    const char* end = text.data() + at + 6;
    const auto read = std::from_chars(text.data() + at + 2, end, unit, 16);
    return read.ec == std::errc() && read.ptr == end ? unit : 0;
  }

  std::string json_;
  size_t at_ = 0;
  int64_t lone_surrogates_ = 0;
};

}  // namespace

std::string standard_json(std::string_view json, int64_t& lone_surrogates) {
  Rewriter rewriter(json);
  std::string standard = rewriter.rewrite();
  lone_surrogates += rewriter.lone_surrogates();
  return standard;
}

}  // namespace annuli::data
