#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/data/loader.h"
#include "annuli/data/prepare.h"
#include "annuli/data/split.h"
#include "annuli/data/token_file.h"
#include "annuli/tokenizer/tokenizer.h"

// Fixed windows over a whole text, for verbs that measure a model.
namespace annuli::cli {

class TextWindows {
 public:
  // Tokenizes into a temporary file that is gone when this returns.
  static TextWindows of_text(const std::vector<std::string>& inputs,
                             const Tokenizer& tokenizer,
                             const data::PrepareOptions& options = {});
  // The same of documents that are in memory.
  static TextWindows of_documents(
      const std::vector<std::string_view>& documents,
      const Tokenizer& tokenizer);
  static TextWindows of_token_file(const fs::path& path);

  const data::TokenFile& file() const { return *file_; }

  // Up to `count` windows spread evenly, fewer where the text is shorter; 0:
  // all that fit. A UserError if not even one does. `documents`: the windows
  // say where documents begin.
  data::Batch windows(int64_t count, int64_t length,
                      bool documents = false) const;

  // Bytes of text a token stands for, on average.
  double bytes_per_token() const;

 private:
  explicit TextWindows(std::unique_ptr<data::TokenFile> file);

  std::unique_ptr<data::TokenFile> file_;
  data::DocumentSet documents_;
};

}  // namespace annuli::cli
