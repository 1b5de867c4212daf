#include <fmt/core.h>

#include <memory>
#include <string>

#include "annuli/checkpoint/shards.h"
#include "annuli/checkpoint/state_folder.h"
#include "annuli/cli/card_training.h"
#include "annuli/cli/command_inputs.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/interrupt.h"
#include "annuli/cli/model_tokenizer.h"
#include "annuli/core/error.h"
#include "annuli/gguf/export_gguf.h"
#include "annuli/grow/dtype_words.h"
#include "annuli/grow/export_folder.h"

namespace annuli::cli {
namespace {

struct ExportOptions {
  std::string source;
  std::string out;
  std::string dtype;
  std::string tokenizer;
  std::string max_shard_size = "5GB";
  bool force = false;
};

void say_if_unknown(const std::string& model_type) {
  if (!model_type.starts_with("annuli")) return;
  fmt::print(
      "note: transformers has no class for {} (it knows no ungated mixture); "
      "this program reads it\n",
      model_type);
}

// Of a model, or of a training state.
InputPaths inputs_of(const ExportOptions& options) {
  InputPaths inputs;
  inputs.add("the source", options.source);
  return inputs;
}

void export_to_pt(const ExportOptions& options, const ModelFile& model) {
  InputPaths inputs = inputs_of(options);
  add_model(inputs, "the source", model);
  check_pt_output(options.out, inputs, options.force);
  grow::export_pt({model, grow::dtype_from_flag(options.dtype)}, options.out);
}

gguf::SourceModel source_of(const ModelFile& model) {
  return {.path = model.path(),
          .is_folder = model.format() == "folder",
          .config_json = model.config_json(),
          .config = model.config(),
          .tensor = [&](const std::string& name) { return model.tensor(name); },
          .release = [&] { model.drop_resident(); }};
}

void export_to_gguf(const ExportOptions& options) {
  const ModelFile model(options.source);
  InputPaths inputs = inputs_of(options);
  add_model(inputs, "the source", model);
  add_tokenizer(inputs, options.tokenizer);
  check_gguf_output(options.out, inputs, options.force);
  const auto type = gguf::type_from_flag(
      options.dtype.empty() ? "f16" : std::string_view(options.dtype));
  const auto tokenizer = tokenizer_of(model, options.tokenizer);
  require_sound(model, "exporting");
  const gguf::SourceModel source = source_of(model);
  gguf::export_gguf({.model = source, .tokenizer = *tokenizer, .type = type},
                    options.out);
  fmt::print("wrote {}\n", options.out);
}

// What is for GGUF alone.
void check_options(const ExportOptions& options) {
  if (options.dtype == "q8_0") {
    user_error("--dtype: found q8_0, expected it with --out NAME.gguf");
  }
  if (!options.tokenizer.empty()) {
    user_error("--tokenizer: expected it with --out NAME.gguf");
  }
}

void export_to_folder(const ExportOptions& options) {
  if (is_training_state(options.source)) {
    if (!options.dtype.empty()) {
      user_error(
          "exporting {}: --dtype is not for a training state, whose "
          "optimizer belongs to its weights as they are",
          options.source);
    }
    InterruptibleFolder out(options.out, options.force, inputs_of(options));
    grow::export_training_state(options.source, *out);
    return;
  }
  const ModelFile model(options.source);
  InputPaths inputs = inputs_of(options);
  add_model(inputs, "the source", model);
  InterruptibleFolder out(options.out, options.force, inputs);
  grow::export_folder({.model = model,
                       .dtype = grow::dtype_from_flag(options.dtype),
                       .max_shard_bytes = parse_bytes(options.max_shard_size),
                       .training = card_training(model)},
                      *out);
}

void export_model(const ExportOptions& options) {
  if (options.out.ends_with(".gguf")) return export_to_gguf(options);
  check_options(options);
  if (options.out.ends_with(".pt")) {
    export_to_pt(options, ModelFile(options.source));
  } else {
    export_to_folder(options);
  }
  const ModelFile written(options.out);
  fmt::print("wrote {}\n", options.out);
  say_if_unknown(written.config_json().value("model_type", ""));
}

}  // namespace

void add_export_command(CLI::App& app) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      app.add_subcommand("export",
                         "Write a model in another form: a .pt file as a "
                         "Hugging Face folder, or the other way; or as the "
                         "GGUF file that llama.cpp runs");
  command
      ->add_option("source", options->source,
                   "A .pt or GGUF file, a model folder, or the state/ of a run")
      ->required();
  command
      ->add_option("--out", options->out,
                   "What to write: a file NAME.pt or NAME.gguf, or a folder")
      ->required();
  command
      ->add_option("--dtype", options->dtype,
                   "Number type to store weights in (default: the source's; "
                   "of GGUF, which has no f64 but q8_0: f16)")
      ->check(CLI::IsMember({"f32", "f64", "bf16", "f16", "q8_0"}));
  command->add_option("--tokenizer", options->tokenizer,
                      "Tokenizer that goes into GGUF (default: the model's)");
  command
      ->add_option("--max-shard-size", options->max_shard_size,
                   "Largest size of one safetensors file of a folder")
      ->capture_default_str();
  command->add_flag("--force", options->force,
                    "Replace what an earlier command wrote at --out");
  command->footer(
      "Examples:\n  annuli export runs/seed/checkpoints/large.pt --out large\n"
      "  annuli export large --out large.gguf --dtype q8_0");
  command->callback([options] { export_model(*options); });
}

}  // namespace annuli::cli
