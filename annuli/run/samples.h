#pragma once

#include <filesystem>

#include "annuli/config/plan.h"
#include "annuli/model/transformer.h"
#include "annuli/tokenizer/document_borders.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli::run {

// Continues every prompt of the plan twice, greedily and sampled, and writes
// the texts to `path`. The same prompts and seed after every phase, so that the
// files can be laid side by side. Prompts begin as documents do, the tokens
// that end one end a text, and ids without a token are never drawn.
void write_samples(const std::filesystem::path& path, const Plan& plan,
                   const Transformer& model, const Tokenizer& tokenizer,
                   const DocumentBorders& borders);

}  // namespace annuli::run
