#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/data/text_input.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/random_probe.h"

// The fixed tokens that `annuli verify` and `annuli grow` compute proofs on:
// windows spread over a text, in the model's own tokenizer. The text is that of
// --text, else the one that the program carries (probe_text.h). Random ids
// stand in for it where there is no tokenizer to read it with: identities hold
// for any input, but what a router does with them says nothing.
namespace annuli::cli {

struct ProbeShape {
  int64_t windows = 8;
  bool whole = false;    // all are compared, not as many as decide
  int64_t length = 256;  // T
  int64_t router_tokens = verify::kRouterTokens;
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

// Of the program's own text. Windows are no longer than the model promises to
// read, and than the text.
NamedProbe default_probe(const ProbeShape& shape, const Tokenizer& tokenizer,
                         int64_t max_position_embeddings);

// Random ids, the same every time. `why` there is no text: for people.
NamedProbe random_probe(const ProbeShape& shape, int64_t vocab_size,
                        const std::string& why);

// What the flags and the model ask for. A tokenizer that is named has to work;
// where the model's own is missing or of no use, the ids are random.
NamedProbe make_probe(const ProbeShape& shape,
                      const std::vector<std::string>& text,
                      const std::string& tokenizer, const ModelFile& model);

// The probe in words, of which so many windows were compared; 0: none.
std::string in_words(const NamedProbe& probe, size_t compared);

// --windows, --length and --text-column.
void add_probe_shape(CLI::App& command, ProbeShape& shape);

}  // namespace annuli::cli
