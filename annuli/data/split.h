#pragma once

#include <cstdint>
#include <vector>

#include "annuli/data/token_file.h"

// Training and validation text, split by document.
//
// The documents are ordered by a counter-based random number of (seed,
// document index); the first round(fraction * documents) are the validation
// set, at least one and never all. Nothing else goes into it: the same file,
// fraction and seed give the same split everywhere.
//
// A single document has no boundary to split at: its tail of round(fraction *
// tokens), at least one token and never all, is the validation set, and the
// bytes of the text are shared out in proportion.
//
// Fraction 0: all documents train, the validation set is empty.
namespace annuli::data {

// Some of a file's documents, as ranges in file order that do not touch.
struct DocumentSet {
  std::vector<TokenRange> ranges;
  int64_t documents = 0;
  int64_t tokens = 0;
  // bits per byte = nats per token / ln 2 * tokens / text_bytes
  int64_t text_bytes = 0;
};

struct Split {
  DocumentSet train;
  DocumentSet validation;
};

// UserErrors: a fraction outside [0, 1), and a file of one token that cannot
// be split.
Split split_documents(const TokenFile& file, double validation_fraction,
                      uint64_t seed);

// Every document of the file, for evaluation of a whole text.
DocumentSet all_documents(const TokenFile& file);

}  // namespace annuli::data
