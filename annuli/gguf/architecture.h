#pragma once

#include <string>
#include <string_view>

#include "annuli/config/model_config.h"
#include "annuli/core/gguf_writer.h"

// What llama.cpp calls a family, and what it takes for granted of it.
namespace annuli::gguf {

struct Architecture {
  std::string_view model_type;  // of transformers
  std::string_view name;        // of llama.cpp
  // Rotary positions turn neighbours, not halves of a head, so that the rows of
  // q and k stand in another order.
  bool turns_neighbours = false;
  bool takes_tied_head = true;      // else the table is written once more
  bool takes_rope_factors = false;  // the frequencies of llama3's scaling
  bool needs_biases = false;        // of attention: zeros where there are none
};

// UserError, one line, "DOING: ...", for a family or a setting that llama.cpp
// computes otherwise or not at all.
const Architecture& architecture_of(const ModelConfig& config,
                                    const std::string& model_type,
                                    const std::string& doing);

// The first that llama.cpp calls so, of mixtures or of others; null if we know
// none.
const Architecture* find_architecture(std::string_view name, bool mixture);
// "llama, arcee, ..."
std::string architecture_names();

// What llama.cpp computes for the family, whatever the file says.
Activation activation_of(std::string_view model_type);
bool normalises_gates(std::string_view model_type);

// Where a file of ours has the config.json that it was made of.
inline constexpr std::string_view kConfigKey = "annuli.config";

// "llama.block_count"
std::string key_of(const Architecture& architecture, std::string_view name);

// The keys of the shape. What is read is held against them (stored_config.h).
void add_shape(const Architecture& architecture, const ModelConfig& config,
               Writer& writer);

}  // namespace annuli::gguf
