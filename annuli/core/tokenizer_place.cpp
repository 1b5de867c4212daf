#include "annuli/core/tokenizer_place.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <system_error>

#include "annuli/core/file.h"

namespace annuli {
namespace {

// The last of a folder's files whose name fits.
std::optional<fs::path> last_of(
    const fs::path& folder, const std::function<bool(std::string_view)>& fits) {
  std::optional<fs::path> last;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    const fs::path& path = item.path();
    const std::string name = path.filename().string();
    if (!fits(name) || !is_file(path)) continue;
    if (!last || last->filename().string() < name) last = path;
  }
  return last;
}

}  // namespace

std::optional<fs::path> tokenizer_in(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "spiece.model",
                           "sentencepiece.bpe.model"}) {
    if (is_file(folder / name)) return folder / name;
  }
  const auto starts = [&](std::string_view begin, std::string_view end) {
    return last_of(folder, [=](std::string_view name) {
      return name.starts_with(begin) && name.ends_with(end);
    });
  };
  if (auto found = starts("tokenizer.model.v", "")) return found;
  if (is_file(folder / "tekken.json")) return folder / "tekken.json";
  if (auto found = starts("tekken_", ".json")) return found;
  if (auto found = starts("", ".tiktoken")) return found;
  const bool pair =
      is_file(folder / "vocab.json") && is_file(folder / "merges.txt");
  return pair ? std::optional(folder) : std::nullopt;
}

std::string tokenizer_kinds() {
  return "`bytes`, a tokenizer.json, a SentencePiece tokenizer.model, a "
         "tekken.json, a .tiktoken, a GGUF file, or a folder with one of them "
         "or with "
         "vocab.json and merges.txt";
}

}  // namespace annuli
