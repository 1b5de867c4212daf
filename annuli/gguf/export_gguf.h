#pragma once

#include <filesystem>
#include <string_view>

#include "annuli/core/gguf_writer.h"
#include "annuli/gguf/source_model.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli::gguf {

struct ExportOrder {
  const SourceModel& model;
  const Tokenizer& tokenizer;
  Type type = Type::kF16;
};

// "f32", "f16", "bf16", "q8_0"; UserError for another word.
Type type_from_flag(std::string_view word);

// Writes a model, with its tokenizer, as the file that llama.cpp runs, and with
// its config.json under a key of ours, by which stored_model.h reads it back as
// it was. Weights are streamed; the file is there whole or not at all. The
// tensors must be those of the config's table. UserError for what llama.cpp
// does not compute (architecture.h) or tokenize (vocabulary.h).
void export_gguf(const ExportOrder& order, const std::filesystem::path& path);

// Whether `export_gguf` wrote a file.
bool is_ours(const std::filesystem::path& path);

}  // namespace annuli::gguf
