#pragma once

#include <string>
#include <string_view>

#include "annuli/config/model_config.h"
#include "annuli/gguf/gguf_writer.h"

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

// UserError, one line, "exporting PATH: ...", for a family or a setting that
// llama.cpp computes otherwise or not at all.
const Architecture& architecture_of(const ModelConfig& config,
                                    const std::string& model_type,
                                    const std::string& path);

// The keys of the shape, "llama.block_count" and so on.
void add_shape(const Architecture& architecture, const ModelConfig& config,
               Writer& writer);

}  // namespace annuli::gguf
