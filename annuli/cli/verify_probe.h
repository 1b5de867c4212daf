#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/data/text_input.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/verify/probe.h"

// The fixed tokens that `annuli verify` and `annuli grow` compute proofs on.
namespace annuli::cli {

struct ProbeShape {
  int64_t windows = 8;
  bool whole = false;            // all are compared, not as many as decide
  int64_t length = 256;          // T
  int64_t router_tokens = 2048;  // rounded up to whole windows
  data::TextOptions text = {};
};

struct NamedProbe {
  verify::Probe probe;
  std::string name;  // for people
};

// Windows spread over the text; fewer where it is short.
NamedProbe text_probe(const ProbeShape& shape,
                      const std::vector<std::string>& inputs,
                      const Tokenizer& tokenizer);

// Random ids, the same every time: identities hold for any input.
NamedProbe random_probe(const ProbeShape& shape, int64_t vocab_size);

// Of the text, by --tokenizer or the model's own; random where there is none.
NamedProbe make_probe(const ProbeShape& shape,
                      const std::vector<std::string>& text,
                      const std::string& tokenizer, const ModelFile& model);

// The probe in words, of which so many windows were compared; 0: none.
std::string in_words(const NamedProbe& probe, size_t compared);

// --windows, --length and --text-column.
void add_probe_shape(CLI::App& command, ProbeShape& shape);

}  // namespace annuli::cli
