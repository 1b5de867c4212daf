#include <fmt/core.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/cli/border_options.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/model_tokenizer.h"
#include "annuli/cli/options.h"
#include "annuli/cli/utf8_stream.h"
#include "annuli/core/json.h"
#include "annuli/core/notice.h"
#include "annuli/generate/generate.h"
#include "annuli/generate/stored_model.h"
#include "annuli/generate/text_ids.h"
#include "annuli/model/device.h"

namespace annuli::cli {
namespace {

struct Options {
  std::string path;
  std::vector<std::string> prompts;
  std::string tokenizer;
  std::string dtype;
  BorderChoice borders;
  GenerateOptions sampling;
  bool in_memory = false;
  bool stats = false;
  bool json = false;
};

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

constexpr const char* kCodes = "int8-weights";

std::optional<at::ScalarType> type_of(const std::string& dtype) {
  const bool narrow = dtype == "bf16" || dtype == kCodes;
  return narrow ? at::kBFloat16 : parse_dtype(dtype);
}

double per_second(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

Json to_json(const GenerateStats& stats) {
  return {{"prompt_tokens", stats.prompt_tokens},
          {"prompt_tokens_per_second",
           per_second(stats.prompt_tokens, stats.prompt_seconds)},
          {"new_tokens", stats.new_tokens},
          {"new_tokens_per_second",
           per_second(stats.new_tokens, stats.new_seconds)}};
}

void print_stats(const GenerateStats& stats) {
  fmt::print(stderr,
             "prompt: {} tokens, {:.1f} a second; then: {} tokens, {:.1f} a "
             "second\n",
             stats.prompt_tokens,
             per_second(stats.prompt_tokens, stats.prompt_seconds),
             stats.new_tokens, per_second(stats.new_tokens, stats.new_seconds));
}

// What went in and what came out.
struct Texts {
  std::vector<TokenIds> prompts;
  std::vector<TokenIds> tokens;
  GenerateStats stats;
};

std::string continuation(const Options& options, const Texts& texts,
                         const Tokenizer& tokenizer, size_t i) {
  return tokenizer.decode(texts.tokens[i], options.prompts[i].empty());
}

// One object for one prompt, a list for several.
void print_json(const Options& options, const Texts& texts,
                const Tokenizer& tokenizer) {
  Json list = Json::array();
  for (size_t i = 0; i < texts.tokens.size(); ++i) {
    list.push_back({{"path", options.path},
                    {"prompt", options.prompts[i]},
                    {"prompt_tokens", texts.prompts[i]},
                    {"text", continuation(options, texts, tokenizer, i)},
                    {"tokens", texts.tokens[i]},
                    {"seed", options.sampling.seed}});
    if (options.stats) list.back()["stats"] = to_json(texts.stats);
  }
  const Json json = list.size() == 1 ? list[0] : list;
  print(pretty(json) + "\n");
}

// A single text appears as it is made, several when all are done.
Texts generate_texts(const Options& options, const Transformer& model,
                     const Tokenizer& tokenizer,
                     const DocumentBorders& borders) {
  Texts texts;
  for (const std::string& prompt : options.prompts) {
    texts.prompts.push_back(prompt_ids(prompt, tokenizer, borders.begin));
  }
  const bool streamed = options.prompts.size() == 1 && !options.json;
  const auto tokens = tokenizer.stream(options.prompts[0].empty());
  Utf8Stream stream;
  bool started = false;
  GenerateOptions sampling = options.sampling;
  sampling.never_ids = ids_without_token(tokenizer, model.config().vocab_size);
  sampling.stop_ids = borders.stops;
  if (streamed) {
    sampling.on_token = [&](size_t, int32_t id) {
      // The prompt waits for the first token, so that an error prints none.
      if (!std::exchange(started, true)) print(options.prompts[0]);
      print(stream.add(tokens->add(id)));
    };
  }
  texts.tokens = generate(model, texts.prompts, sampling, &texts.stats);
  if (streamed) {
    print((started ? "" : options.prompts[0]) + stream.add(tokens->finish()) +
          stream.rest() + "\n");
  }
  return texts;
}

void print_texts(const Options& options, const Texts& texts,
                 const Tokenizer& tokenizer) {
  for (size_t i = 0; i < texts.tokens.size(); ++i) {
    print((i > 0 ? "\n" : "") + options.prompts[i] +
          continuation(options, texts, tokenizer, i) + "\n");
  }
}

void generate_text(const Options& options) {
  const ModelFile file(options.path);
  const auto tokenizer = tokenizer_of(file, options.tokenizer);
  const DocumentBorders borders = borders_of(file, *tokenizer, options.borders);
  const Transformer model =
      load_stored_model(file, {.dtype = type_of(options.dtype),
                               .coded = options.dtype == kCodes,
                               .device = choose_device(DeviceChoice::kAuto),
                               .in_memory = options.in_memory});
  const Texts texts = generate_texts(options, model, *tokenizer, borders);
  if (options.json) {
    print_json(options, texts, *tokenizer);
  } else if (options.prompts.size() > 1) {
    print_texts(options, texts, *tokenizer);
  }
  if (options.stats && !options.json) print_stats(texts.stats);
  for (const std::string& notice : borders.notices) {
    print_notice(notice);
  }
}

void add_sampling(CLI::App& command, GenerateOptions& sampling) {
  command
      .add_option("--max-new-tokens", sampling.max_new_tokens,
                  "Largest number of new tokens for a prompt")
      ->check(whole_number_from(0))
      ->capture_default_str();
  command
      .add_option("--temperature", sampling.temperature,
                  "0 always takes the most probable token; 1 draws with the "
                  "model's probabilities; more is more random")
      ->capture_default_str();
  command
      .add_option(
          "--top-k", sampling.top_k,
          "Draw from this number of most probable tokens; 0 draws from all")
      ->check(whole_number_from(0))
      ->capture_default_str();
  command
      .add_option("--top-p", sampling.top_p,
                  "Of these, draw from the fewest whose probabilities add up "
                  "to this share")
      ->capture_default_str();
  command
      .add_option(
          "--seed", sampling.seed,
          "Seed of the random choices: the same seed gives the same text")
      ->check(whole_number_from(0))
      ->capture_default_str();
}

void add_weights(CLI::App& command, Options& options) {
  command
      .add_option(
          "--dtype", options.dtype,
          "Number type to read weights in, for f32 and bf16 with computation "
          "in f32, for f64 in f64; int8-weights reads half of bf16's bytes a "
          "token: the codes of 8 bits of a model trained with that precision, "
          "of another model the nearest ones (default: as they are stored)")
      ->check(CLI::IsMember({"f32", "bf16", "f64", kCodes}));
  command.add_flag("--in-memory", options.in_memory,
                   "Copy the weights into memory before the first token: each "
                   "token is then faster");
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "generate", "Continue a prompt, token by token, on standard output");
  command
      ->add_option("path", options->path,
                   "A .pt or GGUF file, or a model folder")
      ->required();
  command
      ->add_option("--prompt", options->prompts,
                   "The text to continue; may be given several times")
      ->required()
      ->allow_extra_args(false);
  command
      ->add_option("--batch", options->sampling.batch,
                   "Number of prompts that are continued at the same time")
      ->check(whole_number_from(1))
      ->capture_default_str();
  add_sampling(*command, options->sampling);
  add_tokenizer(*command, options->tokenizer);
  add_border_choice(*command, options->borders);
  add_weights(*command, *options);
  command->add_flag("--stats", options->stats,
                    "Print tokens per second on standard error, at the end");
  command->add_flag("--json", options->json,
                    "Print prompt, text and tokens as JSON, at the end");
  command->footer(
      "Example:\n  annuli generate runs/seed/checkpoints/dense_model.pt "
      "--prompt 'To be, or' --temperature 0.8 --top-k 50");
  command->callback([options] { generate_text(*options); });
}

}  // namespace annuli::cli
