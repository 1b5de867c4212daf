#include "annuli/tokenizer/normalizer_steps.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "annuli/tokenizer/characters.h"
#include "annuli/tokenizer/fold.h"
#include "annuli/tokenizer/split_pattern.h"
#include "annuli/tokenizer/split_syntax.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

class FormStep final : public NormalizerStep {
 public:
  explicit FormStep(NormalForm form) : form_(form) {}
  bool keeps(std::string_view text) const override {
    return surely_in_form(text, form_);
  }
  void append(std::string_view text, std::string& out) const override {
    out += to_form(text, form_);
  }
  std::string description() const override { return name_of(form_); }

 private:
  NormalForm form_;
};

class PrependStep final : public NormalizerStep {
 public:
  explicit PrependStep(std::string mark) : mark_(std::move(mark)) {}
  void append(std::string_view text, std::string& out) const override {
    out += mark_;
    out += text;
  }
  std::string description() const override { return "prepend " + mark_; }

 private:
  std::string mark_;
};

class LiteralStep final : public NormalizerStep {
 public:
  LiteralStep(std::string found, std::string content)
      : found_(std::move(found)), content_(std::move(content)) {}
  bool keeps(std::string_view text) const override {
    return text.find(found_) == text.npos;
  }
  void append(std::string_view text, std::string& out) const override {
    size_t at = 0;
    for (size_t next; (next = text.find(found_, at)) != text.npos;
         at = next + found_.size()) {
      out += text.substr(at, next - at);
      out += content_;
    }
    out += text.substr(at);
  }
  std::string description() const override {
    return "replace " + found_ + " by " + content_;
  }

 private:
  std::string found_;
  std::string content_;
};

class PatternStep final : public NormalizerStep {
 public:
  PatternStep(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void append(std::string_view text, std::string& out) const override {
    SplitPattern::Workspace workspace(pattern_);
    pattern_.find(text, workspace, [&](std::string_view part, bool match) {
      out += match ? std::string_view(content_) : part;
    });
  }
  std::string description() const override {
    return "replace pattern " + pattern_.pattern() + " by " + content_;
  }

 private:
  SplitPattern pattern_;
  std::string content_;
};

class StripStep final : public NormalizerStep {
 public:
  StripStep(bool left, bool right) : left_(left), right_(right) {}
  void append(std::string_view text, std::string& out) const override {
    const size_t begin = left_ ? spaces_at_start(text) : 0;
    const size_t end =
        right_ ? size_before_spaces(text.substr(begin)) : text.size() - begin;
    out += text.substr(begin, end);
  }
  bool cuts_start(std::string_view text) const override {
    return left_ && spaces_at_start(text) > 0;
  }
  std::string description() const override {
    return std::string("strip") + (left_ ? " left" : "") +
           (right_ ? " right" : "");
  }

 private:
  bool left_;
  bool right_;
};

class LowercaseStep final : public NormalizerStep {
 public:
  void append(std::string_view text, std::string& out) const override {
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const char32_t character = decode_utf8(text, at);
      if (!append_lower(character, out)) out += text.substr(begin, at - begin);
    }
  }
  std::string description() const override { return "lowercase"; }
};

class AccentsStep final : public NormalizerStep {
 public:
  bool keeps(std::string_view text) const override {
    return surely_in_form(text, NormalForm::kNfc);  // the first is U+0300
  }
  void append(std::string_view text, std::string& out) const override {
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      if (!is_accent(decode_utf8(text, at))) {
        out += text.substr(begin, at - begin);
      }
    }
  }
  std::string description() const override { return "strip accents"; }
};

}  // namespace

NormalizerStepPointer normal_form_step(NormalForm form) {
  return std::make_unique<FormStep>(form);
}

NormalizerStepPointer prepend_step(std::string mark) {
  return std::make_unique<PrependStep>(std::move(mark));
}

NormalizerStepPointer replace_step(std::string pattern, bool literal,
                                   std::string content) {
  if (literal) {
    return std::make_unique<LiteralStep>(std::move(pattern),
                                         std::move(content));
  }
  return std::make_unique<PatternStep>(std::move(pattern), std::move(content));
}

NormalizerStepPointer strip_step(bool left, bool right) {
  return std::make_unique<StripStep>(left, right);
}

NormalizerStepPointer lowercase_step() {
  return std::make_unique<LowercaseStep>();
}

NormalizerStepPointer strip_accents_step() {
  return std::make_unique<AccentsStep>();
}

}  // namespace annuli
