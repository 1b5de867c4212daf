#pragma once

#include <string>

#include "annuli/core/gguf_types.h"
#include "annuli/model/transformer.h"

namespace annuli::test {

// A model as a GGUF file, with the tokenizer `bytes`.
std::string gguf_bytes(const Transformer& model, gguf::Type type);

// The same without the keys of ours, as another converter writes it.
std::string foreign(std::string bytes);

}  // namespace annuli::test
