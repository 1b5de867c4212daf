#include "annuli/tokenizer/special_token_files.h"

#include <system_error>

#include "annuli/core/error.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/gguf_tokenizer.h"

namespace annuli {
namespace {

// The fields of one file; none if there is no such file.
class Fields {
 public:
  Fields(const fs::path& folder, const char* name) : path_(folder / name) {
    std::error_code ignored;
    if (folder.empty() || !fs::is_regular_file(path_, ignored)) return;
    json_ = read_json(path_);
    if (!json_.is_object()) {
      user_error("reading {}: found {}, expected an object", path_.string(),
                 json_.type_name());
    }
  }

  std::vector<int64_t> ids(const char* name) const {
    std::vector<int64_t> ids;
    const Json& value = field(name);
    if (value.is_null()) return ids;
    if (!value.is_array()) return {id(name, value)};
    for (const Json& one : value) ids.push_back(id(name, one));
    return ids;
  }

  // A string, or an object with its content.
  std::optional<std::string> token(const char* name) const {
    const Json& value = field(name);
    if (value.is_null()) return std::nullopt;
    if (value.is_string()) return value.get<std::string>();
    if (value.is_object() && value.contains("content") &&
        value["content"].is_string()) {
      return value["content"].get<std::string>();
    }
    refuse(name, value, "a token or null");
  }

  bool flag(const char* name) const {
    const Json& value = field(name);
    if (value.is_null()) return false;
    if (!value.is_boolean()) refuse(name, value, "true or false");
    return value.get<bool>();
  }

  bool has(const char* name) const { return !field(name).is_null(); }

 private:
  const Json& field(const char* name) const {
    static const Json kNull;
    const auto found = json_.find(name);
    return found == json_.end() ? kNull : *found;
  }

  int64_t id(const char* name, const Json& value) const {
    if (!value.is_number_integer() || !fits_in<int64_t>(value)) {
      refuse(name, value, "an id, a list of ids or null");
    }
    return value.get<int64_t>();
  }

  [[noreturn]] void refuse(const char* name, const Json& value,
                           const char* expected) const {
    user_error("reading {}: {} is {}, expected {}", path_.string(), name,
               value.dump(), expected);
  }

  fs::path path_;
  Json json_ = Json::object();
};

}  // namespace

fs::path folder_of(const Tokenizer& tokenizer) {
  if (tokenizer.name() == "bytes") return {};
  const fs::path path = tokenizer.name();
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return path;
  if (is_gguf_file(path)) return path;
  const std::string name = path.filename().string();
  if (name.ends_with(".json") && name != "tokenizer.json" &&
      name != "tekken.json") {
    return {};
  }
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

SpecialTokenFiles read_special_token_files(const fs::path& tokenizer_folder,
                                           const fs::path& model_folder) {
  const bool whole = is_gguf_file(tokenizer_folder);
  SpecialTokenFiles files =
      whole ? read_gguf_special_tokens(tokenizer_folder) : SpecialTokenFiles();
  files.generation_eos =
      Fields(model_folder, "generation_config.json").ids("eos_token_id");
  const std::vector<int64_t> eos =
      Fields(model_folder, "config.json").ids("eos_token_id");
  if (!eos.empty()) files.config_eos = eos;
  if (whole) return files;
  const Fields config(tokenizer_folder, "tokenizer_config.json");
  files.config_bos_token = config.token("bos_token");
  files.config_eos_token = config.token("eos_token");
  files.map_is_old = config.has("added_tokens_decoder");
  files.add_bos_token = config.flag("add_bos_token");
  const Fields map(tokenizer_folder, "special_tokens_map.json");
  files.map_bos_token = map.token("bos_token");
  files.map_eos_token = map.token("eos_token");
  return files;
}

}  // namespace annuli
