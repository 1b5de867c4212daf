#pragma once

#include <ATen/core/Tensor.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What several verbs ask for in the same words.
namespace annuli::cli {

// A whole number that is not below `least`.
CLI::Validator whole_number_from(int64_t least);

// --dtype f32 | f64, the type to compute in; empty: the file's own.
void add_dtype(CLI::App& command, std::string& dtype);
std::optional<at::ScalarType> parse_dtype(const std::string& dtype);

// --tokenizer; how it may be left out stands in model_tokenizer.h.
void add_tokenizer(CLI::App& command, std::string& tokenizer);

// What --text and the inputs of `tokenize` take, for their help.
extern const char* const kTextHelp;

// --text-column NAME, of JSON lines and Parquet.
void add_text_column(CLI::App& command, std::string& column);

// --memory-limit 16GB: of resident memory; empty: none.
void add_memory_limit(CLI::App& command, std::string& limit);
std::optional<int64_t> parse_memory_limit(const std::string& limit);

// --allow CHECK, repeatable, and --loss-budget NATS.
void add_allow(CLI::App& command, std::vector<std::string>& allow);
void add_loss_budget(CLI::App& command, std::optional<double>& budget);

}  // namespace annuli::cli
