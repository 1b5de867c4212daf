// Making a PipelineTokenizer from its definition: every check on tokens and
// their ids, and the hash.
#include <algorithm>
#include <array>

#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/pipeline_tokenizer.h"

namespace annuli {
namespace {

constexpr int32_t kLargestId = (1 << 22) - 1;

// What base models use to separate documents.
constexpr std::array<std::string_view, 3> kEndOfText = {
    "<|endoftext|>", "<|end_of_text|>", "</s>"};

std::string flags_of(const AddedToken& token) {
  std::string text;
  if (token.single_word) text += " single_word";
  if (token.lstrip) text += " lstrip";
  if (token.rstrip) text += " rstrip";
  if (!token.in_text) text += " hidden";
  return text;
}

}  // namespace

void PipelineTokenizer::build() {
  Spelling spelling;
  spelling.reserve(parts_.vocabulary.size());
  add_vocabulary();
  for (const auto& [spelled, id] : parts_.vocabulary) {
    spelling.emplace(spelled, id);
  }
  add_added_tokens(spelling);
  hash_ = hash_of();
  show_normalized();
  add_lookups();
  find_end_of_text();
  begin_ids_ = std::move(parts_.begin_ids);
  end_ids_ = std::move(parts_.end_ids);
  for (const std::vector<int32_t>* list : {&begin_ids_, &end_ids_}) {
    for (const int32_t id : *list) {
      if (has_token(id)) continue;
      user_error(
          "reading tokenizer {}: its post_processor puts id {} around a text, "
          "expected an id of a token",
          name_, id);
    }
  }
  parts_.vocabulary = {};
  parts_.added_tokens = {};
}

void PipelineTokenizer::add_token(int32_t id, std::string token,
                                  const std::string& spelled) {
  if (id < 0 || id > kLargestId) {
    user_error("reading tokenizer {}: token '{}' has id {}, expected 0 to {}",
               name_, spelled, id, kLargestId);
  }
  if (token.empty()) {
    user_error("reading tokenizer {}: id {} is an empty token", name_, id);
  }
  if (id >= vocab_size()) tokens_.resize(id + 1);
  if (!tokens_[id].empty()) {
    user_error("reading tokenizer {}: id {} is given twice, second to '{}'",
               name_, id, spelled);
  }
  tokens_[id] = std::move(token);
}

// In a byte-level vocabulary, tokens with characters outside the byte alphabet
// (special tokens written into it) stand for their own text.
void PipelineTokenizer::add_vocabulary() {
  for (const auto& [spelled, id] : parts_.vocabulary) {
    std::optional<std::string> bytes;
    if (parts_.pre_tokenizer.byte_level()) bytes = bytes_of_spelling(spelled);
    add_token(id, bytes.value_or(spelled), spelled);
  }
}

void PipelineTokenizer::check_added_token(const AddedToken& token,
                                          const Spelling& spelling) {
  const auto known = spelling.find(token.content);
  if (known == spelling.end()) {
    return add_token(token.id, token.content, token.content);
  }
  if (known->second != token.id) {
    user_error(
        "reading tokenizer {}: added token '{}' has id {}, but {} in the "
        "vocabulary",
        name_, token.content, token.id, known->second);
  }
}

void PipelineTokenizer::add_added_tokens(const Spelling& spelling) {
  std::vector<AddedToken> before;
  std::vector<AddedToken> after;
  std::unordered_map<std::string_view, int32_t> seen;
  for (const AddedToken& token : parts_.added_tokens) {
    if (!seen.emplace(token.content, token.id).second) {
      user_error("reading tokenizer {}: added token '{}' is given twice", name_,
                 token.content);
    }
    check_added_token(token, spelling);
    if (!token.in_text) continue;
    if (token.special) special_.push_back(token.content);
    (token.normalized ? after : before).push_back(token);
    if (token.normalized) {
      after.back().content = parts_.normalizer.apply(token.content);
    }
  }
  added_ = AddedTokenMatcher(before);
  added_normalized_ = AddedTokenMatcher(after);
}

// An added token that is matched in normalized text is shown so, as Python's
// decode does; the hash has it as it is written.
void PipelineTokenizer::show_normalized() {
  for (const AddedToken& token : parts_.added_tokens) {
    if (!token.normalized) continue;
    const std::string text = parts_.normalizer.apply(token.content);
    if (!text.empty() && text != token.content) tokens_[token.id] = text;
  }
}

void PipelineTokenizer::add_lookups() {
  if (!parts_.pre_tokenizer.byte_level()) {
    for (const std::string& token : tokens_) {
      middle_.push_back(parts_.decoder.middle(token));
    }
  }
  const auto text_of = [&](int32_t id) -> const std::string& {
    return middle_.empty() ? tokens_[id] : middle_[id];
  };
  for (int32_t id = 0; id < vocab_size(); ++id) {
    if (!text_of(id).empty()) ids_.try_emplace(text_of(id), id);
  }
  for (const AddedToken& token : parts_.added_tokens) {
    ids_[text_of(token.id)] = token.id;
  }
}

void PipelineTokenizer::find_end_of_text() {
  for (std::string_view name : kEndOfText) {
    for (const AddedToken& token : parts_.added_tokens) {
      if (token.content == name) {
        end_of_text_ = token.id;
        return;
      }
    }
  }
}

// Sizes stand before contents, so that no two definitions write the same
// bytes. Whether added tokens are matched before or after normalization counts
// only where both kinds exist or something is normalized. What older versions
// did not know stands at the end, and only where it is used: the hash of a
// tokenizer that they could read is theirs.
std::string PipelineTokenizer::hash_of() const {
  Sha256 sha;
  const auto write = [&](std::string_view text) {
    sha.update(std::to_string(text.size()) + ":");
    sha.update(text);
  };
  const TokenModel& model = *parts_.model;
  write(model.kind());
  write(std::to_string(tokens_.size()));
  for (const std::string& token : tokens_) write(token);
  model.describe(write);
  std::vector<AddedToken> added = parts_.added_tokens;
  std::sort(added.begin(), added.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  const bool order_counts = !parts_.normalizer.empty() ||
                            (!added_.empty() && !added_normalized_.empty());
  for (const AddedToken& token : added) {
    write(fmt::format("added {} {} {}{}", token.id, token.special,
                      order_counts && token.normalized, flags_of(token)));
  }
  write(parts_.pre_tokenizer.description());
  const std::string normalizer = parts_.normalizer.description();
  const bool nfc = normalizer == "NFC\n";
  write(fmt::format("nfc {} whole words {}", nfc, model.whole_words()));
  if (!nfc && !normalizer.empty()) write("normalizer " + normalizer);
  if (!model.options().empty()) write("model " + model.options());
  return sha.hex();
}

}  // namespace annuli
