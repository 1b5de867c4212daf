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
// A tokenizer is immutable once made; every method may be called from several
// threads at once.
//
// Lossless: without a normalizer and without a prefix space (both are written
// in tokenizer.json; GPT-2, Llama 3 and SmolLM2 have neither, Qwen has NFC)
// decode(encode(x)) == x for every string of bytes, valid UTF-8 or not. Valid
// UTF-8 gives exactly the ids of the Python `tokenizers` package. That package
// has no answer for other bytes; here a maximal stretch of bytes that belong
// to no valid character (overlong forms, surrogates, cut-off sequences, values
// above U+10FFFF) is a word of its own, and the text on either side of it is
// split as if it stood alone.
//
// Never adds tokens of its own: post-processors, truncation and padding
// written in a tokenizer.json are ignored.
namespace annuli {

struct EncodeOptions {
  // True, as in Python: a special token written out in the text becomes its
  // id. False (Python: encode_special_tokens = True): it is plain text; added
  // tokens that are not special are still matched.
  bool allow_special = true;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  std::vector<int32_t> encode(std::string_view text,
                              EncodeOptions options = {}) const;
  void encode_append(std::string_view text, std::vector<int32_t>& ids,
                     EncodeOptions options = {}) const;

  // The concatenated bytes of the tokens, special tokens included. An id
  // outside the vocabulary is a UserError.
  std::string decode(std::span<const int32_t> ids) const;

  // The bytes one id stands for; they need not be whole characters.
  virtual std::string_view token_bytes(int32_t id) const = 0;

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

  // SHA-256 over what decides the ids: vocabulary, merges, added tokens,
  // normalizer and split patterns. The same tokenizer has the same hash
  // whether it was read from tokenizer.json or from vocab.json + merges.txt.
  virtual const std::string& hash() const = 0;

  // "bytes", or the file or folder it was read from.
  virtual const std::string& name() const = 0;

 private:
  virtual void append_ids(std::string_view text, EncodeOptions options,
                          std::vector<int32_t>& ids) const = 0;
};

// `path_or_name`: "bytes"; a tokenizer.json; a folder that holds one; or a
// folder that holds vocab.json + merges.txt, which carry no split pattern and
// are read as GPT-2's. Anything unsupported or malformed is a UserError that
// names the file and the fault.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path_or_name);

}  // namespace annuli
