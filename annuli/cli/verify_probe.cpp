#include "annuli/cli/verify_probe.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "annuli/cli/model_tokenizer.h"
#include "annuli/cli/options.h"
#include "annuli/cli/probe_text.h"
#include "annuli/cli/text_windows.h"
#include "annuli/core/error.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/verify/random_probe.h"

namespace annuli::cli {
namespace {

verify::Probe probe_of(const data::Batch& windows, const data::Batch& router) {
  verify::Probe probe;
  for (int64_t i = 0; i < windows.batch_size; ++i) {
    const data::Batch window = windows.rows(i, 1);
    probe.tokens.push_back(train::tokens_of(window, at::kCPU));
    probe.targets.push_back(train::targets_of(window, at::kCPU));
  }
  probe.router_tokens = train::tokens_of(router, at::kCPU);
  return probe;
}

int64_t router_windows(const ProbeShape& shape) {
  return (shape.router_tokens + shape.length - 1) / shape.length;
}

NamedProbe probe_of(const ProbeShape& shape, const TextWindows& text,
                    const char* name) {
  const data::Batch windows = text.windows(shape.windows, shape.length);
  return {probe_of(windows, text.windows(router_windows(shape), shape.length)),
          fmt::format("{} windows of {} tokens of {}", windows.batch_size,
                      shape.length, name)};
}

}  // namespace

NamedProbe text_probe(const ProbeShape& shape,
                      const std::vector<std::string>& inputs,
                      const Tokenizer& tokenizer) {
  return probe_of(shape,
                  TextWindows::of_text(inputs, tokenizer, {.text = shape.text}),
                  "the text");
}

NamedProbe default_probe(const ProbeShape& shape, const Tokenizer& tokenizer,
                         int64_t max_position_embeddings) {
  std::vector<std::string_view> documents;
  for (const ProbeDocument& document : probe_text()) {
    documents.push_back(document.text);
  }
  const TextWindows text = TextWindows::of_documents(documents, tokenizer);
  ProbeShape fitting = shape;
  fitting.length = std::min(
      {shape.length, max_position_embeddings, text.file().token_count() - 1});
  return probe_of(fitting, text, "the program's own text");
}

NamedProbe random_probe(const ProbeShape& shape, int64_t vocab_size,
                        const std::string& why) {
  verify::Probe probe =
      verify::random_probe({.windows = shape.windows,
                            .length = shape.length,
                            .router_tokens = shape.router_tokens,
                            .vocab_size = vocab_size});
  return {std::move(probe), fmt::format("{} windows of {} random tokens: {}",
                                        shape.windows, shape.length, why)};
}

NamedProbe make_probe(const ProbeShape& shape,
                      const std::vector<std::string>& text,
                      const std::string& tokenizer, const ModelFile& model) {
  if (!text.empty()) {
    return text_probe(shape, text, *tokenizer_of(model, tokenizer));
  }
  const ModelConfig& config = model.config();
  std::unique_ptr<Tokenizer> own;
  try {
    own = tokenizer_of(model, tokenizer);
  } catch (const UserError& error) {
    if (!tokenizer.empty()) throw;
    return random_probe(shape, config.vocab_size, error.what());
  }
  return default_probe(shape, *own, config.max_position_embeddings);
}

std::string in_words(const NamedProbe& probe, size_t compared) {
  const bool all = compared == 0 || compared == probe.probe.tokens.size();
  return all ? probe.name
             : fmt::format("{}; the first {} decided", probe.name, compared);
}

void add_probe_shape(CLI::App& command, ProbeShape& shape) {
  command
      .add_option("--windows", shape.windows,
                  "Number of windows of text that both models are compared on "
                  "(default: as many as decide, at most 8)")
      ->check(whole_number_from(1))
      ->each([&shape](const std::string&) { shape.whole = true; });
  add_text_column(command, shape.text.column);
  command.add_option("--length", shape.length, "Length of a window, in tokens")
      ->check(whole_number_from(1))
      ->capture_default_str();
}

}  // namespace annuli::cli
