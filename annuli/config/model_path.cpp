#include "annuli/config/model_path.h"

#include <algorithm>
#include <string>
#include <system_error>

#include "annuli/core/error.h"
#include "annuli/core/hub_cache.h"
#include "annuli/core/notice.h"

namespace annuli {
namespace {

constexpr const char* kConfig = "config.json";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// A file that means the folder that it lies in.
bool is_part_of_a_folder(const std::string& name) {
  const auto any_of = [&](std::initializer_list<const char*> ends) {
    return std::ranges::any_of(
        ends, [&](const char* end) { return name.ends_with(end); });
  };
  const bool weights =
      (name.starts_with("model") && any_of({".safetensors"})) ||
      (name.starts_with("pytorch_model") && any_of({".bin"}));
  return weights || any_of({kConfig, ".index.json", "tokenizer.json"});
}

fs::path of_file(const fs::path& file) {
  const fs::path folder =
      file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!is_part_of_a_folder(file.filename().string()) ||
      !is_there(folder / kConfig)) {
    return file;
  }
  notice("{} is a part of the model in {}, which is read", file.string(),
         folder.string());
  return folder;
}

// A repository's folder may have one snapshot, of a commit, and no refs/main.
std::optional<fs::path> snapshot_of(const fs::path& repository) {
  if (auto snapshot = hub_snapshot(repository)) return snapshot;
  std::error_code error;
  std::optional<fs::path> only;
  for (const auto& item :
       fs::directory_iterator(repository / "snapshots", error)) {
    if (only) return std::nullopt;
    only = item.path();
  }
  return only;
}

fs::path of_folder(const fs::path& folder, std::string_view doing) {
  const bool repository = !is_there(folder / kConfig) &&
                          is_folder(folder / "snapshots") &&
                          !hub_id_of(folder).empty();
  if (!repository) return folder;
  const auto snapshot = snapshot_of(folder);
  if (!snapshot) {
    user_error(
        "{} {}: found a repository's folder whose refs/main names none of its "
        "snapshots; give one of {}",
        doing, folder.string(), (folder / "snapshots").string());
  }
  notice("{} is read from its snapshot {}", folder.string(),
         snapshot->filename().string());
  return *snapshot;
}

// A name of the hub that looks like a file's is a file that is not there.
bool is_like_a_file(const fs::path& path) {
  constexpr const char* kEndings[] = {".pt",   ".pth",  ".bin",
                                      ".json", ".gguf", ".safetensors"};
  return std::ranges::find(kEndings, path.extension()) != std::end(kEndings);
}

[[noreturn]] void refuse_path(const fs::path& given, std::string_view doing) {
  const std::string text = given.string();
  std::error_code error;
  if (fs::is_symlink(given, error)) {
    user_error("{} {}: the link leads to {}, which is not there", doing, text,
               fs::read_symlink(given, error).string());
  }
  if (is_hub_url(text)) {
    user_error(
        "{} {}: found an address, expected a file or folder on this machine; "
        "fetch it first, or give the id of a model in the Hugging Face cache",
        doing, text);
  }
  user_error(
      "{} {}: no such file or folder; expected a .pt or GGUF file, a folder "
      "with "
      "{} and model.safetensors, or the id of a model in the Hugging Face "
      "cache{}",
      doing, text, kConfig,
      text.starts_with("~") ? "; '~' stands for a home folder only where the "
                              "shell replaces it, outside quotes"
                            : "");
}

fs::path of_hub(const HubName& name, const fs::path& given,
                std::string_view doing) {
  const fs::path repository = hub_repository(name.id);
  const auto snapshot = hub_snapshot(repository, name.revision);
  if (snapshot) {
    notice("{} is read from {}", given.string(), snapshot->string());
    return *snapshot;
  }
  const bool main = name.revision == "main";
  // A word alone is a model's id as rarely as it is a slip.
  if (main && name.id.find('/') == std::string::npos &&
      !is_hub_url(given.string())) {
    refuse_path(given, doing);
  }
  user_error(
      "{} {}: no such file or folder, and no {} in the Hugging Face cache {}; "
      "if it is a model's id, fetch it with `hf download {}{}`",
      doing, given.string(), main ? "such model" : "such revision of it",
      hub_cache().string(), name.id,
      main ? "" : fmt::format(" --revision {}", name.revision));
}

}  // namespace

fs::path find_model(const fs::path& given, std::string_view doing) {
  if (is_folder(given)) return of_folder(given, doing);
  if (is_there(given)) return of_file(given);
  const auto name = hub_name(given.string());
  const bool is_file = is_like_a_file(given) && !is_hub_url(given.string());
  if (!name || is_file) refuse_path(given, doing);
  return of_hub(*name, given, doing);
}

}  // namespace annuli
