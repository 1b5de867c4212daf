#include "annuli/cli/command_inputs.h"

#include <algorithm>
#include <system_error>

#include "annuli/checkpoint/pt_file.h"
#include "annuli/core/error.h"
#include "annuli/core/tilde.h"
#include "annuli/gguf/export_gguf.h"

namespace annuli::cli {
namespace {

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

bool says_yes(const std::function<bool()>& is_ours) {
  try {
    return is_ours();
  } catch (const UserError&) {
    return false;
  }
}

// `is_ours`: whether what stands there is what would be written.
void check_model_output(const fs::path& path, const InputPaths& inputs,
                        bool replace, const std::function<bool()>& is_ours) {
  const std::string doing = "writing";
  refuse_tilde(path, doing);
  inputs.keep_out_of(path, doing + " " + path.string());
  if (is_there(path) && !replace) {
    user_error(
        "writing {}: it exists already; choose another name, or replace it "
        "with --force",
        path.string());
  }
  check_output_file(doing, path, inputs,
                    [&] { return !fs::is_symlink(path) && is_ours(); });
}

}  // namespace

void add_model(InputPaths& inputs, const std::string& what,
               const ModelFile& model) {
  inputs.add(what, model.path());
  const Json tokenizer = model.extra().value("tokenizer", Json());
  if (tokenizer.is_object() && tokenizer.contains("name") &&
      tokenizer["name"].is_string()) {
    add_tokenizer(inputs, tokenizer["name"]);
  }
}

void add_tokenizer(InputPaths& inputs, const std::string& tokenizer) {
  if (tokenizer != "bytes") inputs.add("the tokenizer", tokenizer);
}

void check_output_file(const std::string& doing, const fs::path& path,
                       const InputPaths& inputs,
                       const std::function<bool()>& is_ours) {
  if (path.empty() || !is_there(path)) return;
  const std::string where = doing + " " + path.string();
  inputs.keep_out_of(path, where);
  std::error_code error;
  const bool is_device = fs::is_character_file(path, error);
  if (is_device || says_yes(is_ours)) return;
  user_error(
      "{}: what stands there was not written by this command, so it is not "
      "replaced; choose another name",
      where);
}

void check_runs(const std::string& doing,
                const std::vector<std::string>& runs) {
  constexpr size_t kMostRuns = 12;
  if (runs.size() > kMostRuns) {
    user_error("{}: found {} runs, expected at most {} on one page", doing,
               runs.size(), kMostRuns);
  }
  for (const std::string& run : runs) refuse_tilde(run, doing);
}

bool has_json_keys(const fs::path& path,
                   std::initializer_list<const char*> keys) {
  const Json json = read_json(path);
  return std::ranges::all_of(
      keys, [&](const char* key) { return json.contains(key); });
}

void check_pt_output(const fs::path& path, const InputPaths& inputs,
                     bool replace) {
  check_model_output(path, inputs, replace, [&] {
    return PtFile(path).extra().contains("format_version");
  });
}

void check_gguf_output(const fs::path& path, const InputPaths& inputs,
                       bool replace) {
  check_model_output(path, inputs, replace,
                     [&] { return gguf::is_ours(path); });
}

}  // namespace annuli::cli
