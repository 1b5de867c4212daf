#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "annuli/cli/border_options.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/options.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"
#include "annuli/core/text.h"
#include "annuli/core/tokenizer_place.h"
#include "annuli/data/prepare.h"

namespace annuli::cli {
namespace {

struct TokenizeOptions {
  std::vector<std::string> inputs;
  std::string tokenizer;
  std::string out;
  BorderChoice borders;
  std::string split_at;
  data::TextOptions text;
  bool force = false;
  bool json = false;
};

void print_json(const Tokenizer& tokenizer, const data::PrepareStats& stats) {
  const Json json = {{"path", stats.path.string()},
                     {"files", stats.files},
                     {"documents", stats.documents},
                     {"tokens", stats.tokens},
                     {"text_bytes", stats.text_bytes},
                     {"vocab_size", tokenizer.vocab_size()},
                     {"tokenizer_hash", tokenizer.hash()},
                     {"begin_ids", stats.borders.begin},
                     {"end_ids", stats.borders.end},
                     {"dropped_bytes", tokenizer.dropped_bytes()},
                     {"reused", stats.reused},
                     {"notices", stats.notices}};
  fmt::print("{}\n", pretty(json));
}

// "; '<s>' before each, '</s>' after it"
std::string said_of(const data::PutBorders& borders,
                    const Tokenizer& tokenizer) {
  std::string text;
  const auto add = [&](const std::vector<int32_t>& ids, const char* where) {
    if (ids.empty()) return;
    text += fmt::format("{} {} {}", text.empty() ? ";" : ",",
                        quote(tokenizer.decode(ids)), where);
  };
  add(borders.begin, "before each document");
  add(borders.end, "after each document");
  return text;
}

void print_line(const data::PrepareStats& stats, const Tokenizer& tokenizer) {
  fmt::print(
      "{} {}: {} tokens in {} documents, from {} of text ({:.2f} bytes "
      "a token){}\n",
      stats.reused ? "up to date" : "wrote", stats.path.string(), stats.tokens,
      stats.documents, format_bytes(static_cast<double>(stats.text_bytes)),
      static_cast<double>(stats.text_bytes) / static_cast<double>(stats.tokens),
      said_of(stats.borders, tokenizer));
}

void tokenize(const TokenizeOptions& options) {
  const auto tokenizer = load_tokenizer(options.tokenizer);
  const data::PrepareStats stats = data::prepare_tokens(
      options.inputs, *tokenizer, options.out,
      {.force = options.force,
       .borders = document_borders(*tokenizer, options.borders),
       .split_at = options.split_at,
       .text = options.text});
  if (options.json) {
    print_json(*tokenizer, stats);
  } else {
    print_line(stats, *tokenizer);
  }
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Make a token file from text");
  command->add_option("inputs", options->inputs, kTextHelp)->required();
  add_text_column(*command, options->text.column);
  command->add_option("--tokenizer", options->tokenizer, tokenizer_kinds())
      ->required();
  command->add_option("--out", options->out, "Token file to write")->required();
  add_border_choice(*command, options->borders);
  add_split_at(*command, options->split_at);
  command->add_flag("--force", options->force,
                    "Write the token file again even if it is up to date");
  command->add_flag("--json", options->json, "Print the figures as JSON");
  command->footer(
      "Example:\n  annuli tokenize build/data/shakespeare "
      "--tokenizer build/data/gpt2 --out shakespeare.tokens");
  command->callback([options] { tokenize(*options); });
}

}  // namespace annuli::cli
