#pragma once

#include <string>

#include "annuli/config/family.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/gguf_writer.h"
#include "annuli/gguf/architecture.h"

// Rotary positions in llama.cpp's words. It computes them as transformers does
// for no scaling, linear, llama3 (of the architectures that take a tensor of
// factors) and yarn.
//
// Of yarn llama.cpp multiplies cosine and sine by (0.1 ln factor + 1)
// attn_factor: that is what an attention_factor is of transformers' default.
// Its ramp has beta_fast 32 and beta_slow 1 and ends at whole pairs, whatever a
// file of these architectures says. Keys that other architectures or versions
// of it read are passed over where they say the same, and refused elsewhere.
namespace annuli::gguf {

// What llama.cpp does not compute; "" if it computes all.
std::string fault_of_positions(const Architecture& architecture,
                               const ModelConfig& config);

// The keys. llama3's factors are a tensor, in model_tensors.cpp.
void add_positions(const Architecture& architecture, const ModelConfig& config,
                   Writer& writer);

// Reads keys and factors into `config`, which has its sizes. UserError as
// stored_config.h says.
void read_positions(const File& file, const Architecture& architecture,
                    const Family& family, ModelConfig& config);

// UserError if a tensor of factors is missing or another than `config` has.
void check_rope_factors(const File& file, const ModelConfig& config);

}  // namespace annuli::gguf
