// Each step of a decoder: what it makes of a token, and the sink that has its
// state.
#include <fmt/core.h>

#include <cctype>
#include <utility>

#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/normalizer_steps.h"
#include "annuli/tokenizer/token_decoder.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

using SinkPointer = std::unique_ptr<TokenSink>;

std::string replaced(std::string_view token, std::string_view found,
                     std::string_view content) {
  std::string out;
  size_t at = 0;
  for (size_t next; (next = token.find(found, at)) != token.npos;
       at = next + found.size()) {
    out += token.substr(at, next - at);
    out += content;
  }
  out += token.substr(at);
  return out;
}

// A step that looks at one token alone.
template <typename Step>
class LocalSink final : public TokenSink {
 public:
  LocalSink(const Step& step, SinkPointer next)
      : step_(step), next_(std::move(next)) {}
  void add(std::string_view token) override {
    next_->add(step_.middle(std::string(token)));
  }
  void finish() override { next_->finish(); }

 private:
  const Step& step_;
  SinkPointer next_;
};

class ByteLevel final : public DecoderStep {
 public:
  std::string middle(std::string token) const override {
    return bytes_of_spelling(token).value_or(token);
  }
  SinkPointer sink(SinkPointer next, bool) const override {
    return std::make_unique<LocalSink<ByteLevel>>(*this, std::move(next));
  }
};

class Metaspace final : public DecoderStep {
 public:
  Metaspace(std::string mark, bool strip_first)
      : mark_(std::move(mark)), strip_first_(strip_first) {}
  std::string middle(std::string token) const override {
    return replaced(token, mark_, " ");
  }
  SinkPointer sink(SinkPointer next, bool at_start) const override {
    return std::make_unique<Sink>(*this, std::move(next),
                                  at_start && strip_first_);
  }

 private:
  class Sink final : public TokenSink {
   public:
    Sink(const Metaspace& step, SinkPointer next, bool first)
        : step_(step), next_(std::move(next)), first_(first) {}
    void add(std::string_view token) override {
      const bool first = std::exchange(first_, false);
      next_->add(replaced(token, step_.mark_, first ? "" : " "));
    }
    void finish() override { next_->finish(); }

   private:
    const Metaspace& step_;
    SinkPointer next_;
    bool first_;
  };
  std::string mark_;
  bool strip_first_;
};

class ByteFallback final : public DecoderStep {
 public:
  std::string middle(std::string token) const override {
    const auto byte = byte_of_token(token);
    return byte ? std::string(1, *byte) : token;
  }
  SinkPointer sink(SinkPointer next, bool) const override {
    return std::make_unique<Sink>(std::move(next));
  }

 private:
  class Sink final : public TokenSink {
   public:
    explicit Sink(SinkPointer next) : next_(std::move(next)) {}
    void add(std::string_view token) override {
      if (const auto byte = byte_of_token(token)) {
        run_ += *byte;
        return;
      }
      flush();
      next_->add(token);
    }
    void finish() override {
      flush();
      next_->finish();
    }

   private:
    void flush() {
      if (run_.empty()) return;
      if (valid_utf8_end(run_, 0) == run_.size()) {
        next_->add(run_);
      } else {
        for (size_t i = 0; i < run_.size(); ++i) next_->add("\xEF\xBF\xBD");
      }
      run_.clear();
    }
    SinkPointer next_;
    std::string run_;
  };
};

class Replace final : public DecoderStep {
 public:
  explicit Replace(NormalizerStepPointer step) : step_(std::move(step)) {}
  // A lone byte of a character is no text that a pattern could read.
  std::string middle(std::string token) const override {
    const bool text = valid_utf8_end(token, 0) == token.size();
    if (token.empty() || !text || step_->keeps(token)) return token;
    std::string out;
    step_->append(token, out);
    return out;
  }
  SinkPointer sink(SinkPointer next, bool) const override {
    return std::make_unique<LocalSink<Replace>>(*this, std::move(next));
  }

 private:
  NormalizerStepPointer step_;
};

class Strip final : public DecoderStep {
 public:
  Strip(std::string content, size_t start, size_t stop, bool fused)
      : content_(std::move(content)),
        start_(start),
        stop_(stop),
        fused_(fused) {}
  std::string middle(std::string token) const override {
    if (fused_) return token;
    std::string_view rest = token;
    for (size_t i = 0; i < start_ && rest.starts_with(content_); ++i) {
      rest.remove_prefix(content_.size());
    }
    for (size_t i = 0; i < stop_ && rest.ends_with(content_); ++i) {
      rest.remove_suffix(content_.size());
    }
    return std::string(rest);
  }
  SinkPointer sink(SinkPointer next, bool at_start) const override {
    if (!fused_) {
      return std::make_unique<LocalSink<Strip>>(*this, std::move(next));
    }
    return std::make_unique<Sink>(*this, std::move(next),
                                  at_start ? start_ : 0);
  }

 private:
  // The text as one token that comes in parts: what may still be its end is
  // held back.
  class Sink final : public TokenSink {
   public:
    Sink(const Strip& step, SinkPointer next, size_t left)
        : step_(step), next_(std::move(next)), left_(left) {}
    void add(std::string_view part) override {
      while (left_ > 0 && !part.empty()) {
        if (!part.starts_with(step_.content_)) {
          left_ = 0;
        } else {
          part.remove_prefix(step_.content_.size());
          --left_;
        }
      }
      if (part.empty()) return;
      held_ += part;
      size_t ready = held_.size();
      for (size_t i = 0; i < step_.stop_; ++i) {
        if (!held_.substr(0, ready).ends_with(step_.content_)) break;
        ready -= step_.content_.size();
      }
      next_->add(std::string_view(held_).substr(0, ready));
      held_.erase(0, ready);
    }
    void finish() override { next_->finish(); }

   private:
    const Strip& step_;
    SinkPointer next_;
    size_t left_;
    std::string held_;
  };
  std::string content_;
  size_t start_;
  size_t stop_;
  bool fused_;
};

class Suffix final : public DecoderStep {
 public:
  explicit Suffix(std::string suffix) : suffix_(std::move(suffix)) {}
  std::string middle(std::string token) const override {
    return replaced(token, suffix_, " ");
  }
  SinkPointer sink(SinkPointer next, bool) const override {
    return std::make_unique<Sink>(*this, std::move(next));
  }

 private:
  class Sink final : public TokenSink {
   public:
    Sink(const Suffix& step, SinkPointer next)
        : step_(step), next_(std::move(next)) {}
    void add(std::string_view token) override {
      if (held_) next_->add(step_.middle(std::move(*held_)));
      held_ = token;
    }
    void finish() override {
      if (held_) next_->add(replaced(*held_, step_.suffix_, ""));
      next_->finish();
    }

   private:
    const Suffix& step_;
    SinkPointer next_;
    std::optional<std::string> held_;
  };
  std::string suffix_;
};

class Spaced final : public DecoderStep {
 public:
  std::string middle(std::string token) const override { return token; }
  SinkPointer sink(SinkPointer next, bool at_start) const override {
    return std::make_unique<Sink>(std::move(next), at_start);
  }

 private:
  class Sink final : public TokenSink {
   public:
    Sink(SinkPointer next, bool first)
        : next_(std::move(next)), first_(first) {}
    void add(std::string_view token) override {
      if (!std::exchange(first_, false)) next_->add(" ");
      next_->add(token);
    }
    void finish() override { next_->finish(); }

   private:
    SinkPointer next_;
    bool first_;
  };
};

}  // namespace

std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') {
    return std::nullopt;
  }
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return std::nullopt;
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value * 16 + digit;
  }
  return static_cast<char>(value);
}

std::string token_of_byte(unsigned char byte) {
  return fmt::format("<0x{:02X}>", byte);
}

DecoderStepPointer byte_level_decoder() {
  return std::make_unique<ByteLevel>();
}

DecoderStepPointer metaspace_decoder(std::string mark, bool strip_first) {
  return std::make_unique<Metaspace>(std::move(mark), strip_first);
}

DecoderStepPointer byte_fallback_decoder() {
  return std::make_unique<ByteFallback>();
}

DecoderStepPointer replace_decoder(std::string pattern, bool literal,
                                   std::string content) {
  return std::make_unique<Replace>(
      replace_step(std::move(pattern), literal, std::move(content)));
}

DecoderStepPointer strip_decoder(std::string content, size_t start, size_t stop,
                                 bool fused) {
  return std::make_unique<Strip>(std::move(content), start, stop, fused);
}

DecoderStepPointer suffix_decoder(std::string suffix) {
  return std::make_unique<Suffix>(std::move(suffix));
}

DecoderStepPointer spaced_decoder() { return std::make_unique<Spaced>(); }

}  // namespace annuli
