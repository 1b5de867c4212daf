#include <filesystem>

#include "annuli/core/error.h"
#include "annuli/tokenizer/bytes_tokenizer.h"
#include "annuli/tokenizer/pipeline_tokenizer.h"
#include "annuli/tokenizer/tokenizer_files.h"

namespace annuli {

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path_or_name) {
  namespace fs = std::filesystem;
  if (path_or_name == "bytes") return std::make_unique<BytesTokenizer>();
  const fs::path path(path_or_name);
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) {
    return std::make_unique<PipelineTokenizer>(read_tokenizer_json(path));
  }
  if (fs::is_regular_file(path / "tokenizer.json", ignored)) {
    return std::make_unique<PipelineTokenizer>(
        read_tokenizer_json(path / "tokenizer.json"));
  }
  if (fs::is_regular_file(path / "vocab.json", ignored) &&
      fs::is_regular_file(path / "merges.txt", ignored)) {
    return std::make_unique<PipelineTokenizer>(read_vocab_and_merges(path));
  }
  user_error(
      "loading tokenizer {}: found no tokenizer there, expected `bytes`, a "
      "tokenizer.json, or a folder with tokenizer.json or with vocab.json and "
      "merges.txt",
      path_or_name);
}

}  // namespace annuli
