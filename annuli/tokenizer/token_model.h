#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The last part of a tokenizer: ids for one word that the parts before it (see
// pipeline_tokenizer.h) have cut out.
namespace annuli {

// Every token of a vocabulary file as it is spelled there, with its id.
using Vocabulary = std::vector<std::pair<std::string, int32_t>>;

// Immutable once made; each thread has a workspace of its own.
class TokenModel {
 public:
  class Workspace {
   public:
    virtual ~Workspace() = default;
    // Bytes of words that no token stands for and that were left out.
    int64_t dropped_bytes = 0;
  };
  using Write = std::function<void(std::string_view)>;

  virtual ~TokenModel() = default;
  virtual std::unique_ptr<Workspace> make_workspace() const = 0;

  // `word` is not empty. It is valid UTF-8, but for a model of byte-level
  // words (PreTokenizer::byte_level), which may be any bytes.
  virtual void append_ids(std::string_view word, Workspace& workspace,
                          std::vector<int32_t>& ids) const = 0;

  // Bytes that belong to no character of UTF-8. Never asked of a model of
  // byte-level words.
  virtual void append_invalid(std::string_view bytes, Workspace& workspace,
                              std::vector<int32_t>& ids) const = 0;

  // What the hash of a tokenizer covers of its model. The kind, with which it
  // begins ("annuli byte-level BPE 1"); what decides ids beside the vocabulary
  // (merges, scores); settings that differ from their defaults, "" if none.
  virtual std::string kind() const = 0;
  virtual void describe(const Write& write) const = 0;
  virtual bool whole_words() const { return false; }  // BPE: ignore_merges
  virtual std::string options() const { return ""; }

  // What a user should know of this model, one line each.
  virtual std::vector<std::string> notices() const { return {}; }
};

}  // namespace annuli
