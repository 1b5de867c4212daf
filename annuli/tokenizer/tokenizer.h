#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Text to token ids and back.
//
// A tokenizer is immutable once made (but for a count, dropped_bytes); every
// method may be called from several threads at once.
//
// Valid UTF-8 gives exactly the ids of the Python `tokenizers` package. That
// package has no answer for other bytes; here a maximal stretch of bytes that
// belong to no valid character (overlong forms, surrogates, cut-off sequences,
// values above U+10FFFF) is a word of its own, and the text on either side of
// it is split as if it stood alone.
//
// Lossless, decode(encode(x)) == x for every string of bytes, valid UTF-8 or
// not: byte-level vocabularies with a token for each byte, without a normalizer
// and without a prefix space (GPT-2, Llama 3; Qwen has NFC). Others lose what
// Python's lose: what a normalizer or a pre-tokenizer takes away, spaces that a
// decoder strips, characters that are unknown (they become one unknown token)
// or, where there is no unknown token, dropped: SmolLM2 has no token for 21
// bytes. dropped_bytes counts these.
//
// Never adds tokens of its own: begin_ids and end_ids say what a post-processor
// would add; truncation and padding written in a tokenizer.json are ignored.
namespace annuli {

struct EncodeOptions {
  // True, as in Python: a special token written out in the text becomes its
  // id. False (Python: encode_special_tokens = True): it is plain text; added
  // tokens that are not special are still matched.
  bool allow_special = true;
};

// Text of ids that come one at a time. What `add` returns, joined, with
// `finish` at the end, is what `decode` gives; some text waits until it is
// certain. Lives no longer than its tokenizer.
class TextStream {
 public:
  virtual ~TextStream() = default;
  virtual std::string add(int32_t id) = 0;
  virtual std::string finish() = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  std::vector<int32_t> encode(std::string_view text,
                              EncodeOptions options = {}) const;
  void encode_append(std::string_view text, std::vector<int32_t>& ids,
                     EncodeOptions options = {}) const;

  // The text of the tokens, special tokens included. With `at_start` false
  // they go on after other text: where a tokenizer strips a space at the start
  // of a text, it is kept. An id without a token adds
  // nothing, as in transformers.
  std::string decode(std::span<const int32_t> ids, bool at_start = true) const;
  virtual std::unique_ptr<TextStream> stream(bool at_start = true) const;

  // The bytes one id stands for in the middle of a text; they need not be
  // whole characters. None where the id has no token.
  virtual std::string_view token_bytes(int32_t id) const = 0;

  // False for any id outside the vocabulary, and for holes in it: a model's
  // vocabulary may have more rows than its tokenizer has tokens.
  virtual bool has_token(int32_t id) const {
    return id >= 0 && id < vocab_size();
  }

  // The id whose bytes are exactly `token` (" the", not "Ġthe").
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;

  // One more than the largest id.
  virtual int64_t vocab_size() const = 0;

  // The token that separates documents, if there is one.
  virtual std::optional<int32_t> end_of_text() const = 0;

  // What Python's `add_special_tokens=True` puts before and after a text (the
  // post-processor's tokens); empty where there is none.
  virtual std::span<const int32_t> begin_ids() const { return {}; }
  virtual std::span<const int32_t> end_ids() const { return {}; }

  // The texts of its special tokens: what encode makes an id of where they are
  // spelled out, unless it is told not to.
  virtual std::vector<std::string> special_tokens() const;

  // SHA-256 over what decides the ids: vocabulary, merges, added tokens,
  // normalizer and split patterns. The same tokenizer has the same hash
  // whether it was read from tokenizer.json or from vocab.json + merges.txt.
  virtual const std::string& hash() const = 0;

  // "bytes", or the file or folder it was read from.
  virtual const std::string& name() const = 0;

  // What a user should know of it and of what it dropped so far, one line
  // each.
  virtual std::vector<std::string> notices() const { return {}; }

  // Bytes of all texts encoded so far that no token stands for.
  virtual int64_t dropped_bytes() const { return 0; }

 private:
  virtual void append_ids(std::string_view text, EncodeOptions options,
                          std::vector<int32_t>& ids) const = 0;
};

// `path_or_name`: "bytes"; a file that holds a tokenizer, or a folder with one
// (core/tokenizer_place.h); the id of a model in the Hugging Face cache, where
// no such path is there, with a notice. Anything unsupported or malformed is a
// UserError that names the file and the fault.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path_or_name);

}  // namespace annuli
