#include "annuli/run/run_data.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <system_error>

#include "annuli/core/error.h"
#include "annuli/data/prepare.h"
#include "annuli/train/batch_tensors.h"

namespace annuli::run {

namespace {

// Of the model that the plan starts from.
fs::path model_folder(const Plan& plan) {
  std::error_code ignored;
  return fs::is_directory(plan.model.from, ignored) ? plan.model.from : "";
}

}  // namespace

RunData::RunData(const Plan& plan)
    : tokenizer_(load_tokenizer(plan.tokenizer)),
      borders_(document_borders(*tokenizer_,
                                {plan.data.begin_token, plan.data.end_token},
                                model_folder(plan))) {
  open_tokens(plan);
  const auto seed = static_cast<uint64_t>(plan.seed);
  const data::Split split =
      data::split_documents(*file_, plan.data.validation_fraction, seed);
  train_ = std::make_unique<data::Loader>(
      *file_, split.train.ranges, plan.data.sequence_length, seed, "train");
  const data::DocumentSet& held_out =
      split.validation.tokens > 0 ? split.validation : split.train;
  bytes_per_token_ = static_cast<double>(held_out.text_bytes) /
                     static_cast<double>(held_out.tokens);

  const auto fixed = [&](int64_t length, int64_t count) {
    const data::Loader loader(*file_, held_out.ranges, length, seed, "fixed");
    return loader.fixed_windows(std::min(count, loader.max_fixed_windows()));
  };
  if (plan.evaluation.windows > 0) {
    validation_ = fixed(plan.data.sequence_length, plan.evaluation.windows);
  }
  probe_windows_ = fixed(plan.probe.length, plan.probe.windows);
  // The router's probe is training text: held-out text may be too short, and
  // what the experts share out is what they are trained on.
  const data::Loader whole(*file_, split.train.ranges, plan.probe.length, seed,
                           "router probe");
  const int64_t wanted =
      (plan.probe.router_tokens + plan.probe.length - 1) / plan.probe.length;
  router_windows_ =
      whole.fixed_windows(std::min(wanted, whole.max_fixed_windows()));
}

void RunData::open_tokens(const Plan& plan) {
  fs::path path = plan.data.tokens;
  if (path.empty()) {
    const fs::path folder = plan.data.cache_dir.empty()
                                ? fs::path("build/data/tokens")
                                : fs::path(plan.data.cache_dir);
    path = data::prepare_tokens_in(folder, plan.data.text, *tokenizer_,
                                   {.borders = borders_,
                                    .split_at = plan.data.split_at,
                                    .text = {.column = plan.data.text_column}})
               .path;
  }
  file_ = std::make_unique<data::TokenFile>(path);
  file_->require_tokenizer(tokenizer_->vocab_size(), tokenizer_->hash());
}

std::string RunData::fingerprint() const {
  return fmt::format("{} tokens of {} by {}", file_->token_count(),
                     file_->inputs_hash(), tokenizer_->hash());
}

verify::Probe RunData::probe(at::Device device) const {
  verify::Probe probe;
  for (int64_t i = 0; i < probe_windows_.batch_size; ++i) {
    const data::Batch window = probe_windows_.rows(i, 1);
    probe.tokens.push_back(train::tokens_of(window, device));
    probe.targets.push_back(train::targets_of(window, device));
  }
  probe.router_tokens = train::tokens_of(router_windows_, device);
  return probe;
}

}  // namespace annuli::run
