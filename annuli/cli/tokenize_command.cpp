#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "annuli/cli/commands.h"
#include "annuli/core/json.h"
#include "annuli/core/text.h"
#include "annuli/core/tokenizer_place.h"
#include "annuli/data/prepare.h"

namespace annuli::cli {
namespace {

struct TokenizeOptions {
  std::vector<std::string> inputs;
  std::string tokenizer;
  std::string out;
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
                     {"dropped_bytes", tokenizer.dropped_bytes()},
                     {"reused", stats.reused}};
  fmt::print("{}\n", pretty(json));
}

void print_line(const data::PrepareStats& stats) {
  fmt::print(
      "{} {}: {} tokens in {} documents, from {} of text ({:.2f} bytes "
      "a token)\n",
      stats.reused ? "up to date" : "wrote", stats.path.string(), stats.tokens,
      stats.documents, format_bytes(static_cast<double>(stats.text_bytes)),
      static_cast<double>(stats.text_bytes) /
          static_cast<double>(stats.tokens));
}

void tokenize(const TokenizeOptions& options) {
  const auto tokenizer = load_tokenizer(options.tokenizer);
  const data::PrepareStats stats = data::prepare_tokens(
      options.inputs, *tokenizer, options.out, {.force = options.force});
  if (options.json) {
    print_json(*tokenizer, stats);
  } else {
    print_line(stats);
  }
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Make a token file from text");
  command
      ->add_option("inputs", options->inputs,
                   ".txt, .txt.gz, .jsonl or .jsonl.gz files, folders, globs")
      ->required();
  command->add_option("--tokenizer", options->tokenizer, tokenizer_kinds())
      ->required();
  command->add_option("--out", options->out, "The token file")->required();
  command->add_flag("--force", options->force,
                    "Make it anew even if it is up to date");
  command->add_flag("--json", options->json, "Print the figures as JSON");
  command->footer(
      "Example:\n  annuli tokenize build/data/shakespeare "
      "--tokenizer build/data/gpt2 --out shakespeare.tokens");
  command->callback([options] { tokenize(*options); });
}

}  // namespace annuli::cli
