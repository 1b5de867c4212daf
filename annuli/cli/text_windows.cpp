#include "annuli/cli/text_windows.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::cli {
namespace {

// A folder of its own, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    const fs::path base = fs::temp_directory_path(error);
    std::string name = (base / "annuli-XXXXXX").string();
    if (error || ::mkdtemp(name.data()) == nullptr) {
      user_error(
          "making a temporary folder {}: {}; set TMPDIR to a folder you "
          "can write",
          name, error ? error.message() : std::strerror(errno));
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Into a file that nobody will miss: it need not survive a crash.
void write_text(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file) {
    user_error("writing {}: {}; set TMPDIR to a folder with space",
               path.string(), std::strerror(errno));
  }
}

}  // namespace

TextWindows::TextWindows(std::unique_ptr<data::TokenFile> file)
    : file_(std::move(file)), documents_(data::all_documents(*file_)) {}

TextWindows TextWindows::of_text(const std::vector<std::string>& inputs,
                                 const Tokenizer& tokenizer,
                                 const data::PrepareOptions& options) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "text.tokens";
  data::prepare_tokens(inputs, tokenizer, path, options);
  // The mapping outlives the file's name.
  return of_token_file(path);
}

TextWindows TextWindows::of_documents(
    const std::vector<std::string_view>& documents,
    const Tokenizer& tokenizer) {
  const TemporaryFolder folder;
  std::vector<std::string> files;
  for (const std::string_view document : documents) {
    const fs::path file = folder.path() / fmt::format("{}.txt", files.size());
    write_text(file, document);
    files.push_back(file.string());
  }
  return of_text(files, tokenizer);
}

TextWindows TextWindows::of_token_file(const fs::path& path) {
  return TextWindows(std::make_unique<data::TokenFile>(path));
}

data::Batch TextWindows::windows(int64_t count, int64_t length,
                                 bool documents) const {
  const data::Loader loader({{{*file_, documents_.ranges}}},
                            {.length = length, .documents = documents}, 0,
                            "fixed");
  const int64_t most = loader.max_fixed_windows();
  return loader.fixed_windows(count == 0 ? most : std::min(count, most));
}

double TextWindows::bytes_per_token() const {
  return static_cast<double>(documents_.text_bytes) /
         static_cast<double>(documents_.tokens);
}

}  // namespace annuli::cli
