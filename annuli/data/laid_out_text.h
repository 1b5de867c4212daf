#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "annuli/data/token_file.h"

// A set of documents of a token file, laid end to end in file order: one text,
// whose positions are 0 .. token_count() - 1. After its last token comes its
// first.
//
// Where a document begins is read from the file's table, never guessed from
// ids. The file must outlive the text. Thread-safe.
namespace annuli::data {

class LaidOutText {
 public:
  // Ranges in file order. They begin and end with documents, but for those of a
  // text that is one document, cut in two.
  LaidOutText(const TokenFile& file, std::vector<TokenRange> documents);

  const TokenFile& file() const { return *file_; }
  int64_t token_count() const { return starts_.back(); }

  // Tokens position, position + 1, ...
  void read(int64_t position, std::span<int64_t> out) const;

  // Of the same tokens, where the document of each begins, counted from
  // `position`: 0 for a document that has begun before it.
  void read_documents(int64_t position, std::span<int64_t> out) const;

 private:
  // Is told, in order, each piece that lies together in the file, and the part
  // of `out` that it is for.
  using Visit = std::function<void(TokenRange piece, std::span<int64_t> out)>;
  void visit_pieces(int64_t position, std::span<int64_t> out,
                    const Visit& visit) const;

  const TokenFile* file_;
  std::vector<TokenRange> documents_;
  std::vector<int64_t> starts_;  // of each range, and the end of the last
};

}  // namespace annuli::data
