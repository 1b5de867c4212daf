#include <ATen/ops/empty.h>
#include <fmt/core.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/cli/border_options.h"
#include "annuli/cli/command_inputs.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/model_tokenizer.h"
#include "annuli/cli/options.h"
#include "annuli/cli/text_windows.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/progress.h"
#include "annuli/core/text.h"
#include "annuli/data/text_paths.h"
#include "annuli/model/device.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/evaluate.h"

namespace annuli::cli {
namespace {

struct EvaluateOptions {
  std::string path;
  std::vector<std::string> text;
  data::TextOptions text_options;
  std::string tokens;
  std::string tokenizer;
  BorderChoice borders;
  std::string split_at;
  std::string logits;
  std::string dtype;
  std::optional<int64_t> windows;
  int64_t sequence_length = 256;
  bool document_mask = false;
  bool json = false;
};

// A mean over this many windows unless the user says; of logits, which are
// large, a few.
constexpr int64_t kWindows = 64;
constexpr int64_t kLogitWindows = 4;

// Logits of all windows are held at once.
constexpr double kMaxLogitBytes = 4e9;

TextWindows open_text(const EvaluateOptions& options, const ModelFile& file) {
  if (options.tokens.empty()) {
    const auto tokenizer = tokenizer_of(file, options.tokenizer);
    return TextWindows::of_text(
        options.text, *tokenizer,
        {.borders = borders_of(file, *tokenizer, options.borders),
         .split_at = options.split_at,
         .text = options.text_options});
  }
  TextWindows text = TextWindows::of_token_file(options.tokens);
  if (!options.tokenizer.empty()) {
    const auto tokenizer = tokenizer_of(file, options.tokenizer);
    text.file().require_tokenizer(tokenizer->vocab_size(), tokenizer->hash());
  } else if (const std::string hash = tokenizer_hash_of(file); !hash.empty()) {
    text.file().require_tokenizer(text.file().vocab_size(), hash);
  }
  if (text.file().vocab_size() > file.config().vocab_size) {
    user_error(
        "evaluating {}: {} holds ids of a vocabulary of {}, but the model "
        "knows only {}",
        options.path, options.tokens, text.file().vocab_size(),
        file.config().vocab_size);
  }
  return text;
}

double evaluate_windows(const Transformer& model, const data::Batch& windows) {
  Progress progress("evaluating", windows.batch_size);
  double sum = 0;
  for (int64_t i = 0; i < windows.batch_size; ++i) {
    sum += train::evaluate(model, windows.rows(i, 1));
    progress.advance();
  }
  return sum / static_cast<double>(windows.batch_size);
}

// The file of logits: made before anything is computed, so that a path that
// can't be written is found at once, and whole or not at all.
class LogitsFile {
 public:
  LogitsFile(const EvaluateOptions& options, const data::Batch& windows,
             int64_t vocab_size)
      : shape_{windows.batch_size, windows.sequence_length, vocab_size},
        writer_(options.logits, entries(options)) {}

  void write(const Transformer& model, const data::Batch& windows) {
    at::Tensor all = at::empty(shape_, at::kFloat);
    for (int64_t i = 0; i < windows.batch_size; ++i) {
      const data::Batch window = windows.rows(i, 1);
      ForwardOptions forward;
      forward.documents = train::documents_of(window);
      const at::Tensor logits =
          model.logits(train::tokens_of(window, model.device()), forward);
      all.select(0, i).copy_(logits.select(0, 0));
    }
    writer_.write(train::tokens_of(windows, at::kCPU));
    writer_.write(all);
    writer_.finish();
  }

 private:
  std::vector<TensorEntry> entries(const EvaluateOptions& options) const {
    const double bytes = 4.0 * static_cast<double>(shape_[0]) *
                         static_cast<double>(shape_[1]) *
                         static_cast<double>(shape_[2]);
    if (bytes > kMaxLogitBytes) {
      user_error(
          "writing {}: the logits of {} windows of {} tokens take {}, at most "
          "{} are written; ask for fewer with --windows",
          options.logits, shape_[0], shape_[1], format_bytes(bytes),
          format_bytes(kMaxLogitBytes));
    }
    return {
        {.name = "tokens", .dtype = at::kLong, .shape = {shape_[0], shape_[1]}},
        {.name = "logits", .dtype = at::kFloat, .shape = shape_}};
  }

  std::vector<int64_t> shape_;  // [N, T, V]
  SafetensorsWriter writer_;
};

struct Figures {
  double loss;  // nats per token
  double bytes_per_token;
  int64_t windows;
  int64_t sequence_length;

  double perplexity() const { return std::exp(loss); }
  double bits_per_byte() const {
    return loss / std::log(2.0) / bytes_per_token;
  }
};

void print_figures(const EvaluateOptions& options, const Figures& figures) {
  if (!options.json) {
    fmt::print(
        "loss {:.6f} nats  perplexity {:.3f}  {:.4f} bits per byte  ({} "
        "windows of {} tokens)\n",
        figures.loss, figures.perplexity(), figures.bits_per_byte(),
        figures.windows, figures.sequence_length);
    if (!options.logits.empty()) fmt::print("wrote {}\n", options.logits);
    return;
  }
  Json json = {{"path", options.path},
               {"loss", figures.loss},
               {"perplexity", figures.perplexity()},
               {"bits_per_byte", figures.bits_per_byte()},
               {"windows", figures.windows},
               {"sequence_length", figures.sequence_length}};
  if (!options.logits.empty()) json["logits"] = options.logits;
  fmt::print("{}\n", pretty(json));
}

void check_logits(const EvaluateOptions& options, const ModelFile& file) {
  if (options.logits.empty()) return;
  InputPaths inputs;
  add_model(inputs, "the model", file);
  add_tokenizer(inputs, options.tokenizer);
  data::add_text(inputs, "--text", options.text);
  inputs.add("--tokens", options.tokens);
  check_output_file("writing logits to", options.logits, inputs, [&] {
    const SafetensorsFile before(options.logits);
    const auto& entries = before.entries();
    return entries.size() == 2 && entries[0].name == "tokens" &&
           entries[1].name == "logits";
  });
}

void evaluate(const EvaluateOptions& options) {
  const ModelFile file(options.path);
  check_logits(options, file);
  const TextWindows text = open_text(options, file);
  const int64_t count = options.windows.value_or(
      options.logits.empty() ? kWindows : kLogitWindows);
  const data::Batch windows =
      text.windows(count, options.sequence_length, options.document_mask);
  std::optional<LogitsFile> logits;
  if (!options.logits.empty()) {
    logits.emplace(options, windows, file.config().vocab_size);
  }
  const Transformer model =
      load_model(file, {.dtype = parse_dtype(options.dtype),
                        .device = choose_device(DeviceChoice::kAuto),
                        .mapped = true});
  const double loss = evaluate_windows(model, windows);
  if (!std::isfinite(loss)) {
    throw VerdictError(fmt::format(
        "evaluating {}: the loss is {}, expected a finite number; the weights "
        "are broken",
        options.path, loss));
  }
  if (logits) logits->write(model, windows);
  print_figures(options, {.loss = loss,
                          .bytes_per_token = text.bytes_per_token(),
                          .windows = windows.batch_size,
                          .sequence_length = windows.sequence_length});
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = app.add_subcommand(
      "evaluate",
      "Measure the loss, perplexity and bits per byte of a model on a text");
  command
      ->add_option("path", options->path,
                   "A .pt or GGUF file, or a model folder")
      ->required();
  CLI::Option* text = command->add_option("--text", options->text, kTextHelp);
  add_text_column(*command, options->text_options.column);
  CLI::Option* tokens = command->add_option(
      "--tokens", options->tokens,
      "A token file made by annuli tokenize, instead of --text");
  text->excludes(tokens);
  add_tokenizer(*command, options->tokenizer);
  add_border_choice(*command, options->borders);
  add_split_at(*command, options->split_at);
  command
      ->add_option("--windows", options->windows,
                   "Number of windows, spread evenly over the text; 0 takes "
                   "all that fit (default: 64, or 4 with --logits)")
      ->check(whole_number_from(0));
  command
      ->add_option("--sequence-length", options->sequence_length,
                   "Length of a window, in tokens")
      ->check(whole_number_from(1))
      ->capture_default_str();
  command->add_flag("--document-mask", options->document_mask,
                    "A token sees only its own document, and positions begin "
                    "anew with each, as with data.document_mask");
  command->add_option("--logits", options->logits,
                      "Write the tokens [N, T] and their logits [N, T, V] to "
                      "this .safetensors file");
  add_dtype(*command, options->dtype);
  command->add_flag("--json", options->json, "Print the figures as JSON");
  command->footer(
      "Example:\n  annuli evaluate runs/seed/checkpoints/dense_model.pt "
      "--text build/data/shakespeare --windows 32");
  command->callback([options] {
    if (options->text.empty() && options->tokens.empty()) {
      user_error("evaluating {}: no text; give --text FILE... or --tokens FILE",
                 options->path);
    }
    evaluate(*options);
  });
}

}  // namespace annuli::cli
