#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "annuli/core/file.h"

// The token file: a text, tokenized once, mapped by every run that reads it.
//
// Layout, version 1, all numbers little-endian:
//
//   offset  bytes  field
//        0      8  magic "ANNULITK"
//        8      4  version = 1
//       12      4  token_bytes: 2 if vocab_size <= 65536, else 4
//       16      8  vocab_size of the tokenizer
//       24      8  token_count
//       32      8  document_count
//       40     64  tokenizer hash, SHA-256 in lower-case hex
//      104     64  inputs hash, the same: what the file was made from
//      168      1  1: the next four fields say what stands around a document.
//                  0: nothing before it; after it the tokenizer's end of text,
//                  if it has one
//      169      1  how many tokens stand before each document
//      170      1  how many stand after it
//      171      1  zero
//      172     80  their ids, 4 bytes each: those before, those after, zeros
//      252      4  zeros
//      256         token_count ids of token_bytes each
//                  zeros up to the next multiple of 8
//                  document_count x {u64 end_token, u64 end_byte}
//
// Document i is the tokens from the end of document i - 1 (0 for the first) to
// its own; `end_byte` counts the same in bytes of the text, for bits per byte.
// End tokens strictly increase to token_count (no document is empty), end
// bytes never decrease. The file ends with the last document.
namespace annuli::data {

struct TokenFileHeader;

// Tokens [begin, end) of a token file.
struct TokenRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const TokenRange&) const = default;
};

// What was put before and after each document; they are part of it. At most 20
// ids.
struct PutBorders {
  std::vector<int32_t> begin;
  std::vector<int32_t> end;
  bool operator==(const PutBorders&) const = default;
};

struct TokenFileOrigin {
  int64_t vocab_size = 0;
  std::string tokenizer_hash;  // SHA-256 in hex
  std::string inputs_hash;
  std::optional<PutBorders> borders = {};  // where they are not the usual ones
};

// Writes a token file document by document. Nothing appears at `path` before
// `commit`; an unfinished writer leaves nothing behind.
class TokenFileWriter {
 public:
  TokenFileWriter(fs::path path, TokenFileOrigin origin);

  // `text_bytes`: the length of the text the tokens were made from. Documents
  // hold at least one token, ids lie in the vocabulary.
  void append(std::span<const int32_t> tokens, int64_t text_bytes);
  void commit();

  int64_t token_count() const { return token_count_; }
  int64_t document_count() const { return std::ssize(ends_) / 2; }
  int64_t text_bytes() const { return text_bytes_; }

 private:
  TokenFileOrigin origin_;
  AtomicFile file_;
  int64_t token_count_ = 0;
  int64_t text_bytes_ = 0;
  std::vector<uint64_t> ends_;  // end_token, end_byte, end_token, ...
};

// An open token file, read-only and mapped. The constructor trusts nothing:
// it checks every field of the header against the file's size, the order of
// the documents and every single id, and throws a UserError of one line that
// says what is wrong. After it, all reads are within bounds and all ids within
// the vocabulary.
class TokenFile {
 public:
  explicit TokenFile(fs::path path);

  // UserError unless the file was made with this very tokenizer.
  void require_tokenizer(int64_t vocab_size, const std::string& hash) const;

  // True if the file at `path` begins as a token file does, whole or not.
  static bool has_magic(const fs::path& path);

  const fs::path& path() const { return mapping_.path(); }
  int64_t vocab_size() const { return origin_.vocab_size; }
  const std::string& tokenizer_hash() const { return origin_.tokenizer_hash; }
  const std::string& inputs_hash() const { return origin_.inputs_hash; }
  const std::optional<PutBorders>& borders() const { return origin_.borders; }
  int64_t token_count() const { return token_count_; }
  int64_t document_count() const { return std::ssize(ends_) / 2; }
  int64_t text_bytes() const;

  TokenRange document(int64_t i) const;
  // The document that holds a token.
  int64_t document_of(int64_t token) const;
  int64_t document_bytes(int64_t i) const;

  // Ids begin, begin + 1, ... into `out`.
  void read(int64_t begin, std::span<int64_t> out) const;

 private:
  TokenFileHeader read_header() const;
  void check_fields(const TokenFileHeader& header) const;
  std::optional<PutBorders> read_borders(const TokenFileHeader& header) const;
  void locate_body(const TokenFileHeader& header);
  void check_documents() const;
  void check_ids() const;
  uint64_t end_of(int64_t document, size_t column) const;
  [[noreturn]] void refuse(const std::string& reason) const;

  MappedFile mapping_;
  TokenFileOrigin origin_;
  int64_t token_bytes_ = 0;
  int64_t token_count_ = 0;
  const std::byte* tokens_ = nullptr;
  std::span<const uint64_t> ends_;
};

}  // namespace annuli::data
