#pragma once

#include <map>
#include <memory>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/data/loader.h"
#include "annuli/data/split.h"
#include "annuli/data/token_file.h"
#include "annuli/tokenizer/document_borders.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/verify/probe.h"

// What a plan reads: its tokenizer, its tokens, and the fixed windows that
// proofs and evaluations use. Text is tokenized here if it has to be.
//
// Guarantees: everything is fixed by the plan and the files; only the training
// loader's position moves, and the length of its windows with the phase.
//
// Of a mixture each text has its own token file, and is split by itself into
// training and held-out text. Windows of evaluation and of the probe are shared
// out evenly among the texts, at least one of each.
//
// `document_mask` acts on training and evaluation. Windows of the probe are
// read as one document each: what is proved there, that tensors and functions
// are equal, holds for what any token sees, and a window without a mask has the
// most of it, with the furthest positions.
namespace annuli::run {

// Fixed windows of a text that are not trained on; of training text where
// nothing is held out.
struct HeldOutText {
  data::Batch windows;
  double weight = 1;  // those of all texts sum to 1
};

class RunData {
 public:
  // Throws UserError if a file is missing, damaged, or of another tokenizer.
  explicit RunData(const Plan& plan);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // What stands around documents, and prompts.
  const DocumentBorders& borders() const { return borders_; }
  // At the length of the first phase until another is set, which must be that
  // of a phase. The place in the text stays.
  data::Loader& train() { return loaders_.at(length_); }
  void set_length(int64_t length);

  // Of the data's length in every phase, so that losses compare. Empty if the
  // plan wants no evaluation.
  const std::vector<HeldOutText>& validation() const { return validation_; }
  // Bytes of text a held-out token stands for, on average over the mixture.
  double bytes_per_token() const { return bytes_per_token_; }

  // Stands for the tokens and the tokenizer that they were made with.
  std::string fingerprint() const;

  verify::Probe probe(at::Device device) const;

 private:
  // A text, and its share of the tokens.
  struct Source {
    std::unique_ptr<data::TokenFile> file;
    double weight;
    data::Split split;

    const data::DocumentSet& held_out() const {
      return split.validation.tokens > 0 ? split.validation : split.train;
    }
  };

  void open_sources(const Plan& plan);
  void open_source(const Plan& plan, const fs::path& tokens, double weight);
  fs::path tokens_of(const Plan& plan,
                     const std::vector<std::string>& text) const;
  void make_loaders(const Plan& plan);
  void choose_windows(const Plan& plan);

  std::unique_ptr<Tokenizer> tokenizer_;
  DocumentBorders borders_;
  std::vector<Source> sources_;
  std::map<int64_t, data::Loader> loaders_;  // by length of windows
  int64_t length_ = 0;
  std::vector<HeldOutText> validation_;
  data::Batch probe_windows_;
  data::Batch router_windows_;
  double bytes_per_token_ = 0;
};

}  // namespace annuli::run
