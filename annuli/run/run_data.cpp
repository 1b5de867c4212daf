#include "annuli/run/run_data.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/data/prepare.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/schedule.h"

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
  open_sources(plan);
  make_loaders(plan);
  choose_windows(plan);
}

void RunData::open_sources(const Plan& plan) {
  const DataPlan& data = plan.data;
  double sum = 0;
  for (const TextSource& source : data.mixture) sum += source.weight;
  for (const TextSource& source : data.mixture) {
    open_source(plan, tokens_of(plan, source.text), source.weight / sum);
  }
  if (!data.mixture.empty()) return;
  open_source(
      plan,
      data.tokens.empty() ? tokens_of(plan, data.text) : fs::path(data.tokens),
      1);
}

fs::path RunData::tokens_of(const Plan& plan,
                            const std::vector<std::string>& text) const {
  const fs::path folder = plan.data.cache_dir.empty()
                              ? fs::path("build/data/tokens")
                              : fs::path(plan.data.cache_dir);
  return data::prepare_tokens_in(folder, text, *tokenizer_,
                                 {.borders = borders_,
                                  .split_at = plan.data.split_at,
                                  .text = {.column = plan.data.text_column}})
      .path;
}

void RunData::open_source(const Plan& plan, const fs::path& tokens,
                          double weight) {
  auto file = std::make_unique<data::TokenFile>(tokens);
  file->require_tokenizer(tokenizer_->vocab_size(), tokenizer_->hash());
  data::Split split = data::split_documents(
      *file, plan.data.validation_fraction, static_cast<uint64_t>(plan.seed));
  sources_.push_back({std::move(file), weight, std::move(split)});
}

// All of them at once: a text that is too short for a later phase is found
// before the first one.
void RunData::make_loaders(const Plan& plan) {
  for (const PhasePlan& phase : plan.phases) {
    const int64_t length = train::window_length(plan, phase.train);
    if (loaders_.empty()) length_ = length;
    if (loaders_.contains(length)) continue;
    std::vector<data::WeightedText> texts;
    for (const Source& source : sources_) {
      texts.push_back(
          {{*source.file, source.split.train.ranges}, source.weight});
    }
    loaders_.emplace(
        length,
        data::Loader(std::move(texts),
                     {.length = length,
                      .in_epochs = plan.data.order == WindowOrder::kEpochs,
                      .documents = plan.data.document_mask},
                     static_cast<uint64_t>(plan.seed), "train"));
  }
}

void RunData::set_length(int64_t length) {
  const data::LoaderState place = train().state();
  length_ = length;
  train().seek(place);
}

// The router's probe is training text: held-out text may be too short, and
// what the experts share out is what they are trained on.
void RunData::choose_windows(const Plan& plan) {
  const auto texts = static_cast<int64_t>(sources_.size());
  for (int64_t i = 0; i < texts; ++i) {
    const Source& source = sources_[i];
    const auto windows = [&](const data::DocumentSet& documents, int64_t length,
                             int64_t count, bool mask) {
      const data::Loader loader({{{*source.file, documents.ranges}}},
                                {.length = length, .documents = mask},
                                static_cast<uint64_t>(plan.seed), "fixed");
      const int64_t share =
          std::max<int64_t>(1, count / texts + (i < count % texts ? 1 : 0));
      return loader.fixed_windows(std::min(share, loader.max_fixed_windows()));
    };
    const data::DocumentSet& held_out = source.held_out();
    bytes_per_token_ += source.weight *
                        static_cast<double>(held_out.text_bytes) /
                        static_cast<double>(held_out.tokens);
    if (plan.evaluation.windows > 0) {
      validation_.push_back(
          {windows(held_out, plan.data.sequence_length, plan.evaluation.windows,
                   plan.data.document_mask),
           source.weight});
    }
    const int64_t length = plan.probe.length;
    probe_windows_.append(windows(held_out, length, plan.probe.windows, false));
    router_windows_.append(
        windows(source.split.train, length,
                (plan.probe.router_tokens + length - 1) / length, false));
  }
}

std::string RunData::fingerprint() const {
  std::vector<std::string> files;
  for (const Source& source : sources_) {
    files.push_back(fmt::format("{} tokens of {}", source.file->token_count(),
                                source.file->inputs_hash()));
  }
  return fmt::format("{} by {}", fmt::join(files, ", "), tokenizer_->hash());
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
