#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/data/text_input.h"
#include "annuli/data/token_file.h"
#include "annuli/tokenizer/document_borders.h"
#include "annuli/tokenizer/tokenizer.h"

// From text to a token file (see text_files.h and text_input.h for what counts
// as text, and token_file.h for the result).
//
// - Each document is encoded on its own, special tokens written out in it as
//   plain text (they are counted), and stands between the tokens that
//   tokenizer/document_borders.h names.
// - Where the text spells `split_at` a document ends (document_cutter.h).
// - Empty documents are left out.
// - The result is a function of the documents, their order and the tokenizer,
//   not of the files that hold them: the same text gives the same bytes from
//   .txt, .jsonl.zst or Parquet. The hash of all that is kept in the token
//   file: while it is the same, the file is reused as it is (the inputs are
//   read to hash them, but not tokenized).
// - A token file that is out of date or damaged is replaced, atomically; any
//   other file at `output` is never touched.
namespace annuli::data {

struct PrepareOptions {
  bool force = false;         // make it anew even if it is up to date
  bool show_progress = true;  // and the notices, on standard error
  // Unset: what the tokenizer's files say.
  std::optional<DocumentBorders> borders = {};
  std::string split_at = {};  // "": a text is one document
  TextOptions text = {};
};

struct PrepareStats {
  fs::path path;
  int64_t files = 0;  // of text
  int64_t documents = 0;
  int64_t tokens = 0;      // those around documents included
  int64_t text_bytes = 0;  // unpacked, as the tokenizer saw them
  bool reused = false;
  PutBorders borders;  // of each document
  // What was passed over, taken off or guessed, a line each; of the text itself
  // only where it was read.
  std::vector<std::string> notices;
};

// UserErrors: inputs that name nothing or cannot be read, no text at all, and
// a file at `output` that is no token file. Missing parent folders of `output`
// are made.
PrepareStats prepare_tokens(const std::vector<std::string>& inputs,
                            const Tokenizer& tokenizer, const fs::path& output,
                            const PrepareOptions& options = {});

// The same into `folder`, under a name made from the hashes of inputs and
// tokenizer, so that different texts live side by side.
PrepareStats prepare_tokens_in(const fs::path& folder,
                               const std::vector<std::string>& inputs,
                               const Tokenizer& tokenizer,
                               const PrepareOptions& options = {});

}  // namespace annuli::data
