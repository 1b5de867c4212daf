#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// From tokens, as a vocabulary spells them, back to text: the chain of steps
// that tokenizer.json calls a decoder. Each step takes tokens and gives tokens;
// the text is what the last one gives, joined. Some steps wait for what comes
// next (a run of byte tokens ends with the first other token) and some treat
// the first token in another way (a mark that stands for no space there).
//
// Immutable once built; a TokenSink chain has the state of one text.
namespace annuli {

// Takes the tokens of one text in order.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void add(std::string_view token) = 0;
  virtual void finish() = 0;  // no token comes any more
};

class DecoderStep {
 public:
  virtual ~DecoderStep() = default;
  // `at_start` is false where text stands before the first token.
  virtual std::unique_ptr<TokenSink> sink(std::unique_ptr<TokenSink> next,
                                          bool at_start) const = 0;
  // What becomes of one token with others on both sides; a byte token is its
  // byte, whatever its neighbours are.
  virtual std::string middle(std::string token) const = 0;
};

using DecoderStepPointer = std::unique_ptr<const DecoderStep>;

// ByteLevel: a token is the bytes that it spells, or, where a character of it
// spells none, itself. The result is one token.
DecoderStepPointer byte_level_decoder();

// Metaspace: `mark` is a space; in the first token of a text it is nothing
// where `strip_first` says so.
DecoderStepPointer metaspace_decoder(std::string mark, bool strip_first);

// ByteFallback: a run of tokens `<0x0A>` becomes their bytes, or U+FFFD for
// each of them where they are not valid UTF-8 together.
DecoderStepPointer byte_fallback_decoder();

// The byte of a token `<0x0A>`.
std::optional<char> byte_of_token(std::string_view token);
std::string token_of_byte(unsigned char byte);

// Replace: every match of `pattern` within a token becomes `content`.
DecoderStepPointer replace_decoder(std::string pattern, bool literal,
                                   std::string content);

// Strip: up to `start` times the character `content` at the beginning of each
// token and up to `stop` times at its end; with `fused` (after Fuse) the whole
// text is one token.
DecoderStepPointer strip_decoder(std::string content, size_t start, size_t stop,
                                 bool fused);

// BPEDecoder: `suffix` is a space, and nothing in the last token.
DecoderStepPointer suffix_decoder(std::string suffix);

// No decoder at all: tokens with a space between them.
DecoderStepPointer spaced_decoder();

class TokenDecoder {
 public:
  void add(DecoderStepPointer step);

  // The first sink of a chain that appends to `*text`; `text` must outlive it.
  std::unique_ptr<TokenSink> sink(std::string* text, bool at_start) const;
  std::string middle(std::string token) const;

 private:
  std::vector<DecoderStepPointer> steps_;
};

}  // namespace annuli
