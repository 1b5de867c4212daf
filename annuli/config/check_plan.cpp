#include "annuli/config/check_plan.h"

#include <algorithm>
#include <set>

#include "annuli/config/check_growth.h"
#include "annuli/config/quote.h"
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

void check_allow(const Complain& complain, const std::string& key,
                 const std::vector<std::string>& allow) {
  const auto& names = check_names();
  for (const auto& name : allow) {
    if (std::ranges::find(names, name) != names.end()) continue;
    std::string all;
    for (const auto& known : names) {
      all.append(all.empty() ? "" : ", ").append(known);
    }
    complain(key, fmt::format("found {}, expected names of checks: {}{}",
                              quote(name), all, did_you_mean(name, names)));
  }
}

void check_data(const Complain& complain, const Plan& plan) {
  const DataPlan& data = plan.data;
  if (data.text.empty() && data.tokens.empty()) {
    complain("data.text", "found nothing, expected text files or data.tokens");
  }
  if (!data.text.empty() && !data.tokens.empty()) {
    complain("data.tokens", "found beside data.text, expected one of the two");
  }
  if (std::ranges::find(data.text, "") != data.text.end()) {
    complain("data.text", "found an empty path, expected a file or folder");
  }
  if (plan.tokenizer.empty()) {
    complain("tokenizer", "found nothing, expected bytes or a path");
  }
  const int64_t longest = plan.model.max_position_embeddings;
  const auto check_length = [&](const char* key, int64_t length) {
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
  if (train.warmup_steps > train.max_steps) {
    complain(key + ".warmup_steps",
             fmt::format("found {}, expected at most max_steps, {}",
                         train.warmup_steps, train.max_steps));
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
  check_data(complain, plan);
  check_allow(complain, "allow", plan.allow);
  if (plan.phases.empty()) {
    complain("phases", "found none, expected at least one");
  }
  check_phases(complain, plan);
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
