#include "annuli/tokenizer/pipeline_tokenizer.h"

#include "annuli/tokenizer/utf8.h"

namespace annuli {

struct PipelineTokenizer::Scratch {
  explicit Scratch(const PipelineTokenizer& tokenizer)
      : splits(tokenizer.parts_.pre_tokenizer.make_workspace()),
        model(tokenizer.parts_.model->make_workspace()) {}

  PreTokenizer::Workspace splits;
  std::unique_ptr<TokenModel::Workspace> model;
};

struct PipelineTokenizer::Stretch {
  std::string_view text;
  bool at_start;  // nothing stands before it

  Stretch part(std::string_view of) const {
    return {of, at_start && of.data() == text.data()};
  }
};

// What the decoder makes of tokens that come one at a time.
class PipelineTokenizer::Stream final : public TextStream {
 public:
  Stream(const PipelineTokenizer& tokenizer, bool at_start)
      : tokenizer_(tokenizer),
        sink_(tokenizer.parts_.decoder.sink(&text_, at_start)) {}
  std::string add(int32_t id) override {
    if (tokenizer_.has_token(id)) sink_->add(tokenizer_.tokens_[id]);
    return std::exchange(text_, {});
  }
  std::string finish() override {
    sink_->finish();
    return std::exchange(text_, {});
  }

 private:
  const PipelineTokenizer& tokenizer_;
  std::string text_;
  std::unique_ptr<TokenSink> sink_;
};

PipelineTokenizer::PipelineTokenizer(TokenizerDefinition definition)
    : name_(definition.source), parts_(std::move(definition)) {
  build();
}

PipelineTokenizer::~PipelineTokenizer() = default;

std::string_view PipelineTokenizer::token_bytes(int32_t id) const {
  if (!has_token(id)) return {};
  return middle_.empty() ? tokens_[id] : middle_[id];
}

std::optional<int32_t> PipelineTokenizer::token_to_id(
    std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::unique_ptr<TextStream> PipelineTokenizer::stream(bool at_start) const {
  if (middle_.empty()) return Tokenizer::stream(at_start);
  return std::make_unique<Stream>(*this, at_start);
}

std::vector<std::string> PipelineTokenizer::notices() const {
  std::vector<std::string> lines = parts_.model->notices();
  if (const int64_t dropped = dropped_bytes(); dropped > 0) {
    lines.push_back(fmt::format(
        "tokenizer {}: {} bytes of the text have no token and were dropped",
        name_, dropped));
  }
  return lines;
}

void PipelineTokenizer::append_ids(std::string_view text, EncodeOptions options,
                                   std::vector<int32_t>& ids) const {
  auto loan = pool_.borrow([&] { return std::make_unique<Scratch>(*this); });
  Scratch& scratch = *loan;
  const Stretch whole{text, true};
  added_.split(
      text, options.allow_special,
      [&](std::string_view plain) {
        append_plain(whole.part(plain), options, scratch, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
  dropped_bytes_ += std::exchange(scratch.model->dropped_bytes, 0);
}

// Valid stretches are normalized, searched and split; each invalid stretch is
// one word.
void PipelineTokenizer::append_plain(Stretch stretch, EncodeOptions options,
                                     Scratch& scratch,
                                     std::vector<int32_t>& ids) const {
  const std::string_view text = stretch.text;
  for (size_t at = 0; at < text.size();) {
    size_t end = valid_utf8_end(text, at);
    if (end > at) {
      append_valid(stretch.part(text.substr(at, end - at)), options, scratch,
                   ids);
    } else {
      end = invalid_utf8_end(text, at);
      const std::string_view bytes = text.substr(at, end - at);
      if (parts_.pre_tokenizer.byte_level()) {
        parts_.model->append_ids(bytes, *scratch.model, ids);
      } else {
        parts_.model->append_invalid(bytes, *scratch.model, ids);
      }
    }
    at = end;
  }
}

void PipelineTokenizer::append_valid(Stretch stretch, EncodeOptions options,
                                     Scratch& scratch,
                                     std::vector<int32_t>& ids) const {
  std::string buffer;
  bool at_start = stretch.at_start;
  const std::string_view text =
      parts_.normalizer.apply(stretch.text, buffer, at_start);
  const Stretch normalized{text, at_start};
  added_normalized_.split(
      text, options.allow_special,
      [&](std::string_view plain) {
        parts_.pre_tokenizer.split(plain, normalized.part(plain).at_start,
                                   scratch.splits, [&](std::string_view word) {
                                     parts_.model->append_ids(
                                         word, *scratch.model, ids);
                                   });
      },
      [&](int32_t id) { ids.push_back(id); });
}

}  // namespace annuli
