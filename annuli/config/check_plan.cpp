#include "annuli/config/check_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "annuli/config/check_growth.h"
#include "annuli/config/check_schedule.h"
#include "annuli/config/field.h"
#include "annuli/config/utf8.h"
#include "annuli/core/quote.h"
#include "annuli/core/text.h"

namespace annuli {
namespace {

// Names become parts of file names, and keys of --set.
bool is_file_name(const std::string& name) {
  constexpr const char* kSafe =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  return !name.empty() && name.size() <= 200 && name[0] != '.' &&
         name.find_first_not_of(kSafe) == std::string::npos;
}

void check_name(const Complain& complain, const std::string& key,
                const std::string& name) {
  if (is_file_name(name)) return;
  complain(key, fmt::format("found {}, expected letters, digits, '_', '-' and "
                            "'.', as it becomes part of file names",
                            quote(name)));
}

// It is part of the run's state, which is JSON.
void check_output_dir(const Complain& complain, const std::string& folder) {
  if (first_invalid_utf8(folder) == folder.size()) return;
  complain("output_dir",
           fmt::format("found {}, expected UTF-8", quote(folder)));
}

// `what` the names are of.
void check_names_in(const Complain& complain, const std::string& key,
                    const std::vector<std::string>& found,
                    const std::vector<std::string>& names,
                    std::string_view what) {
  for (const auto& name : found) {
    if (std::ranges::find(names, name) != names.end()) continue;
    complain(key, fmt::format("found {}, expected names of {}: {}{}",
                              quote(name), what, fmt::join(names, ", "),
                              did_you_mean(name, names)));
  }
}

void check_allow(const Complain& complain, const std::string& key,
                 const std::vector<std::string>& allow) {
  check_names_in(complain, key, allow, check_names(), "checks");
}

void check_paths(const Complain& complain, const std::string& key,
                 const std::vector<std::string>& text) {
  if (std::ranges::find(text, "") == text.end()) return;
  complain(key, "found an empty path, expected a file or folder");
}

// What the tokens come from: text, a mixture, or a ready file.
void check_text(const Complain& complain, const DataPlan& data) {
  if (data.text.empty() && data.tokens.empty() && data.mixture.empty()) {
    complain("data.text",
             "found nothing, expected text files, data.mixture or data.tokens");
  }
  if (!data.text.empty() && !data.tokens.empty()) {
    complain("data.tokens", "found beside data.text, expected one of the two");
  }
  if (!data.mixture.empty() && !(data.text.empty() && data.tokens.empty())) {
    complain("data.mixture",
             fmt::format("found beside data.{}, expected one of the two; what "
                         "is to be mixed stands in the mixture",
                         data.text.empty() ? "tokens" : "text"));
  }
  check_paths(complain, "data.text", data.text);
  for (size_t i = 0; i < data.mixture.size(); ++i) {
    const std::string key = fmt::format("data.mixture.{}.text", i);
    if (data.mixture[i].text.empty()) {
      complain(key, "found nothing, expected text files");
    }
    check_paths(complain, key, data.mixture[i].text);
  }
  if (!data.tokens.empty() && !data.split_at.empty()) {
    complain("data.split_at",
             "found beside data.tokens, expected it with data.text");
  }
}

void check_data(const Complain& complain, const Plan& plan) {
  const DataPlan& data = plan.data;
  check_text(complain, data);
  if (data.text_column.empty()) {
    complain("data.text_column", "found nothing, expected a field's name");
  }
  if (plan.tokenizer.empty()) {
    complain("tokenizer", "found nothing, expected bytes or a path");
  }
  const int64_t longest = plan.model.max_position_embeddings;
  const auto check_length = [&](const std::string& key, int64_t length) {
    if (length <= longest) return;
    complain(key, fmt::format("found {}, expected at most "
                              "model.max_position_embeddings, {}",
                              length, longest));
  };
  check_length("data.sequence_length", data.sequence_length);
  check_length("probe.length", plan.probe.length);
}

void check_file(const Complain& complain, const std::string& key,
                const std::string& file, std::set<std::string>& files) {
  check_name(complain, key, file);
  if (!file.ends_with(".pt")) {
    complain(key, fmt::format("found {}, expected a name that ends in .pt",
                              quote(file)));
  }
  if (!files.insert(file).second) {
    complain(key, fmt::format("found {}, which an earlier phase writes; "
                              "expected another name",
                              quote(file)));
  }
}

void check_train(const Complain& complain, const std::string& key,
                 const TrainPlan& train) {
  const bool is_known = train.max_steps > 0;  // or a budget is to say
  if (is_known && train.warmup_steps > train.max_steps) {
    complain(key + ".warmup_steps",
             fmt::format("found {}, expected at most max_steps, {}",
                         train.warmup_steps, train.max_steps));
  }
  const int64_t micro = train.micro_batch_size.value_or(train.batch_size);
  if (micro > train.batch_size || train.batch_size % micro != 0) {
    complain(key + ".micro_batch_size",
             fmt::format("found {}, expected a divisor of batch_size, {}",
                         micro, train.batch_size));
    return;
  }
  if (train.clip == ClipNorm::kWhole) return;
  const std::string clip(word_of(train.clip));
  if (train.max_grad_norm == 0) {
    complain(key + ".clip", fmt::format("found {} without max_grad_norm, "
                                        "expected both or neither",
                                        clip));
  }
  const auto holds = [&](const char* field, int64_t value) {
    complain(key + ".clip",
             fmt::format("found {} beside {} {}, which hold the whole "
                         "gradient; expected whole",
                         clip, field, value));
  };
  if (train.gradient_accumulation_steps > 1) {
    holds("gradient_accumulation_steps", train.gradient_accumulation_steps);
  } else if (batch_parts(train) > 1) {
    holds("micro_batch_size", micro);
  }
}

// Settings of another optimizer, and state in a type it does not have.
void check_optimizer(const Complain& complain, const Plan& plan) {
  const OptimizerPlan& optimizer = plan.optimizer;
  const std::string_view type = word_of(optimizer.type);
  const auto only = [&](const char* key, bool changed, OptimizerType owner) {
    if (!changed || optimizer.type == owner) return;
    complain(fmt::format("optimizer.{}", key),
             fmt::format("found beside optimizer.type {}, expected it with {} "
                         "alone",
                         type, word_of(owner)));
  };
  const OptimizerPlan defaults;
  only("momentum", optimizer.momentum != defaults.momentum,
       OptimizerType::kSgd);
  only("decay_rate", optimizer.decay_rate != defaults.decay_rate,
       OptimizerType::kAdafactor);
  only("clip_threshold", optimizer.clip_threshold != defaults.clip_threshold,
       OptimizerType::kAdafactor);
  only("scale_parameter", optimizer.scale_parameter, OptimizerType::kAdafactor);
  only("muon_momentum", optimizer.muon_momentum != defaults.muon_momentum,
       OptimizerType::kMuon);
  only("muon_scale", optimizer.muon_scale != defaults.muon_scale,
       OptimizerType::kMuon);
  const bool has_moments =
      optimizer.type == OptimizerType::kAdamw ||
      optimizer.type == OptimizerType::kMuon ||
      (optimizer.type == OptimizerType::kSgd && optimizer.momentum > 0);
  if (optimizer.state_dtype == StateDtype::kBf16 && !has_moments) {
    complain("optimizer.state_dtype",
             fmt::format("found bf16 beside optimizer.type {}, expected it "
                         "with adamw, with muon or with sgd and its momentum",
                         type));
  }
  if (plan.precision == Precision::kFp64 &&
      (optimizer.state_dtype == StateDtype::kBf16 ||
       optimizer.type == OptimizerType::kAdamw8bit)) {
    complain("optimizer",
             "found state of 16 or 8 bits beside precision fp64, "
             "expected another precision or adamw in fp32");
  }
}

// What is sent is whole tensors of numbers.
void check_codes(const Complain& complain, const Plan& plan) {
  if (plan.precision != Precision::kInt8Weights ||
      plan.parallel.shard == Sharding::kNone) {
    return;
  }
  complain("parallel.shard",
           fmt::format("found {} with precision int8-weights, expected none: "
                       "each process holds all codes",
                       word_of(plan.parallel.shard)));
}

void check_groups(const Complain& complain, const Plan& plan) {
  std::map<TensorPart, size_t> group_of;
  for (size_t i = 0; i < plan.optimizer.groups.size(); ++i) {
    const std::string key = fmt::format("optimizer.groups.{}.parts", i);
    const OptimizerGroup& group = plan.optimizer.groups[i];
    if (group.parts.empty()) {
      complain(key, "found none, expected some, as attention");
    }
    for (const TensorPart part : group.parts) {
      const auto [other, is_new] = group_of.emplace(part, i);
      if (is_new) continue;
      complain(key, fmt::format("found {}, which groups.{} has; expected each "
                                "part once",
                                word_of(part), other->second));
    }
  }
}

void check_phases(const Complain& complain, const Plan& plan) {
  std::set<std::string> names;
  std::set<std::string> files;
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    const PhasePlan& phase = plan.phases[i];
    const std::string key = fmt::format("phases.{}", i);
    check_name(complain, key + ".name", phase.name);
    if (!names.insert(phase.name).second) {
      complain(key + ".name", fmt::format("found {}, the name of an earlier "
                                          "phase; expected another",
                                          quote(phase.name)));
    }
    if (!phase.init_checkpoint.empty()) {
      check_file(complain, key + ".init_checkpoint", phase.init_checkpoint,
                 files);
    }
    check_file(complain, key + ".checkpoint", phase.checkpoint, files);
    check_train(complain, key + ".train", phase.train);
    check_allow(complain, key + ".allow", phase.allow);
  }
}

}  // namespace

void check_plan(const Plan& plan, const Locate& locate) {
  const Complain complain = [&](const std::string& key,
                                const std::string& problem) {
    user_error("{}: {}: {}", locate(key), key, problem);
  };
  check_name(complain, "name", plan.name);
  check_output_dir(complain, plan.output_dir);
  check_data(complain, plan);
  check_optimizer(complain, plan);
  check_codes(complain, plan);
  check_groups(complain, plan);
  check_allow(complain, "allow", plan.allow);
  check_names_in(complain, "report_to", plan.report_to, {"tensorboard"},
                 "formats");
  if (plan.phases.empty()) {
    complain("phases", "found none, expected at least one");
  }
  check_phases(complain, plan);
  check_schedule(complain, plan);
  check_budget(complain, plan);
  check_growth(complain, plan);
}

const std::vector<std::string>& check_names() {
  static const std::vector<std::string> names = {
      "tensor_audit",       "functional_identity", "rope_integrity",
      "router_logit_scale", "symmetry_breaking",   "router_health",
      "boundary_record",    "config_audit"};
  return names;
}

}  // namespace annuli
