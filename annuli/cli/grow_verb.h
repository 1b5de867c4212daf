#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/cli/verify_probe.h"
#include "annuli/config/phase_plan.h"

// What `annuli grow` does once its flags are read.
namespace annuli::cli {

struct GrowOptions {
  std::string parent;
  std::string out;
  GrowPlan plan;
  std::string chain;  // a file with the plan's chain
  uint64_t seed = 0;
  std::string dtype;  // "": the parent's
  std::string max_shard_size = "5GB";
  bool force = false;
  bool dry_run = false;
  std::string tensor;  // dry run: whose recipe to print
  bool no_verify = false;
  std::vector<std::string> allow;
  std::optional<double> loss_budget;  // unset: the operator's
  std::vector<std::string> text;
  std::string tokenizer;
  ProbeShape shape;
  std::string json;
  std::optional<std::string> processes;  // that share the work
  std::string replay;                    // a lineage.json, instead of a plan
  std::vector<std::string> with;         // of a replay: the further parents
};

// Both with the processes that were started together with this one, or that
// `processes` asks for.
//
// Every step of a chain has the chain's seed: the steps one by one, each with
// the same --seed, give the same weights.
void grow_model(GrowOptions options);
void replay_growth(const GrowOptions& options);

}  // namespace annuli::cli
