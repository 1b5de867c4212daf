#pragma once

#include <memory>

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
// loader's position moves.
namespace annuli::run {

class RunData {
 public:
  // Throws UserError if a file is missing, damaged, or of another tokenizer.
  explicit RunData(const Plan& plan);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // What stands around documents, and prompts.
  const DocumentBorders& borders() const { return borders_; }
  data::Loader& train() { return *train_; }

  // Fixed windows of held-out text; of training text where nothing is held out.
  const data::Batch& validation() const { return validation_; }
  // Bytes of text a held-out token stands for, on average.
  double bytes_per_token() const { return bytes_per_token_; }

  // Stands for the tokens and the tokenizer that they were made with.
  std::string fingerprint() const;

  verify::Probe probe(at::Device device) const;

 private:
  void open_tokens(const Plan& plan);

  std::unique_ptr<Tokenizer> tokenizer_;
  DocumentBorders borders_;
  std::unique_ptr<data::TokenFile> file_;
  std::unique_ptr<data::Loader> train_;
  data::Batch validation_;
  data::Batch probe_windows_;
  data::Batch router_windows_;
  double bytes_per_token_ = 1;
};

}  // namespace annuli::run
