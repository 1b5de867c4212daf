#include "annuli/cli/model_tokenizer.h"

#include "annuli/core/error.h"
#include "annuli/core/tokenizer_place.h"

namespace annuli::cli {
namespace {

constexpr const char* kKey = "tokenizer";

// A text field of what the file says of its tokenizer, or "".
std::string said(const ModelFile& model, const char* field) {
  const Json& extra = model.extra();
  if (!extra.contains(kKey) || !extra[kKey].is_object()) return "";
  const Json& tokenizer = extra[kKey];
  if (!tokenizer.contains(field) || !tokenizer[field].is_string()) return "";
  return tokenizer[field];
}

std::string default_name(const ModelFile& model) {
  if (const std::string name = said(model, "name"); !name.empty()) return name;
  const bool has_one =
      model.format() == "gguf" ||
      (model.format() == "folder" && tokenizer_in(model.path()));
  if (has_one) return model.path().string();
  user_error(
      "choosing a tokenizer: {} does not say which it was trained with; give "
      "it with --tokenizer",
      model.path().string());
}

std::unique_ptr<Tokenizer> load_default(const ModelFile& model) {
  const std::string name = default_name(model);
  try {
    return load_tokenizer(name);
  } catch (const UserError& error) {
    user_error("{} (the tokenizer of {}); give another with --tokenizer",
               error.what(), model.path().string());
  }
}

}  // namespace

std::string tokenizer_hash_of(const ModelFile& model) {
  return said(model, "hash");
}

DocumentBorders borders_of(const ModelFile& model, const Tokenizer& tokenizer,
                           const BorderChoice& asked) {
  BorderChoice choice = asked;
  if (choice.begin_token.empty())
    choice.begin_token = said(model, "begin_token");
  if (choice.end_token.empty()) choice.end_token = said(model, "end_token");
  return document_borders(
      tokenizer, choice,
      model.format() == "folder" ? model.path() : fs::path());
}

std::unique_ptr<Tokenizer> tokenizer_of(const ModelFile& model,
                                        const std::string& asked) {
  auto tokenizer = asked.empty() ? load_default(model) : load_tokenizer(asked);
  const std::string hash = tokenizer_hash_of(model);
  if (!hash.empty() && hash != tokenizer->hash()) {
    user_error(
        "choosing a tokenizer: {} has the hash {:.12}, but {} was trained with "
        "{:.12} ({}); give that one with --tokenizer",
        tokenizer->name(), tokenizer->hash(), model.path().string(), hash,
        said(model, "name"));
  }
  if (tokenizer->vocab_size() > model.config().vocab_size) {
    user_error(
        "choosing a tokenizer: {} has {} tokens, but {} knows only {}; give "
        "the one it was trained with",
        tokenizer->name(), tokenizer->vocab_size(), model.path().string(),
        model.config().vocab_size);
  }
  return tokenizer;
}

}  // namespace annuli::cli
