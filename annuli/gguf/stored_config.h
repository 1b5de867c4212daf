#pragma once

#include "annuli/config/model_config.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/json.h"
#include "annuli/gguf/architecture.h"

namespace annuli::gguf {

// What the keys of a file say of its model.
struct StoredConfig {
  const Architecture* architecture = nullptr;
  ModelConfig config;
  Json json;  // as config.json: a file of ours holds it, others' is made
};

// A number that was rounded to fp32 is taken for the shortest decimal that
// rounds to it: 1e-05 comes back as it was. What no key states follows from the
// tensors: biases from their names, a tied head from its absence, llama3's
// scaling from its factors (with low_freq_factor 1 and high_freq_factor 4, as
// in all models of Llama 3).
//
// UserError, one line, "reading PATH: ...", for an architecture that we do not
// export, for a key that it would not be written with, or with another value:
// what a model computes differently is never read as if it did not. So too
// where the config.json in a file of ours is another than its keys say.
StoredConfig stored_config(const File& file);

}  // namespace annuli::gguf
