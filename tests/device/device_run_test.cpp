// Whole runs on the pretend device, against the same runs on the CPU: training,
// growth in all its steps, proofs, evaluation, samples, resuming.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/stop_request.h"
#include "annuli/run/plan_runner.h"
#include "annuli/run/stopped.h"
#include "annuli/train/history.h"
#include "tests/cli/program.h"
#include "tests/support/pretend_device.h"

namespace annuli::test {
namespace {

using run::IfPresent;

// How far losses may lie apart after three steps in each of
// four phases. Training amplifies what rounding differs by, by a factor of up
// to a thousand (grow/dynamics_test.cpp):
constexpr double kFp64 = 1e-12;  // 1000 * 2^-53, and ten for chained sums
constexpr double kFp32 = 1e-4;   // 1000 * 2^-24, the same as against Python
// An operand that lies within the rounding of fp32 of the middle of two bf16
// numbers falls to either: one in 2^15 does, and is then off by 2^-8, which is
// 2^-8 sqrt(2^-15) = 2e-5 of a product, and so is a weight that is rounded
// stochastically. Over twelve steps training makes a hundred times that of it.
constexpr double kBf16 = 2e-3;

constexpr double kTokens = 32;  // of a batch in the last phase

struct Variant {
  const char* name;
  std::vector<std::string> set;
  double tolerance = kFp32;
};

// Three steps at a low rate part too few copies.
constexpr const char* kFewSteps = "allow=[symmetry_breaking]";

std::vector<std::string> in_every_phase(
    const std::vector<std::string>& fields) {
  std::vector<std::string> all;
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    for (const std::string& field : fields) {
      all.push_back(std::string("phases.") + phase + ".train." + field);
    }
  }
  return all;
}

std::vector<Variant> variants() {
  return {
      {"fp32", {}},
      {"fp64", {"precision=fp64"}, kFp64},
      {"bf16_mixed", {"precision=bf16-mixed"}, kBf16},
      {"bf16", {"precision=bf16"}, kBf16},
      {"bf16_gated",
       {"precision=bf16", "model.gated=true", "model.hidden_act=silu"},
       kBf16},
      {"grouped_heads_with_norms",
       {"model.num_key_value_heads=1", "model.qk_norm=true", "model.gated=true",
        "model.hidden_act=silu", "model.tie_word_embeddings=false"}},
      {"relu2", {"model.hidden_act=relu2"}},
      {"adamw_with_bf16_state", {"optimizer.state_dtype=bf16"}, kBf16},
      {"adafactor", {"optimizer.type=adafactor"}},
      {"adafactor_relative",
       {"optimizer.type=adafactor", "optimizer.scale_parameter=true",
        kFewSteps}},
      {"sgd", {"optimizer.type=sgd", kFewSteps}},
      {"sgd_with_momentum",
       {"optimizer.type=sgd", "optimizer.momentum=0.9", "precision=bf16"},
       kBf16},
      {"muon", {"optimizer.type=muon", kFewSteps}},
      {"clip_whole", in_every_phase({"max_grad_norm=0.5"})},
      {"clip_in_two_passes",
       in_every_phase({"max_grad_norm=0.5", "clip=two_pass"})},
      {"clip_by_the_norm_before",
       in_every_phase({"max_grad_norm=0.5", "clip=previous_norm"})},
      {"checkpointing", in_every_phase({"gradient_checkpointing=true"})},
      {"documents", {"data.document_mask=true"}},
      {"accumulation", in_every_phase({"gradient_accumulation_steps=2"})},
      {"accumulation_bf16",
       [] {
         auto set = in_every_phase(
             {"gradient_accumulation_steps=2", "gradient_checkpointing=true"});
         set.push_back("precision=bf16");
         return set;
       }(),
       kBf16},
      {"z_loss", in_every_phase({"router_z_loss_coef=0.001"})},
      {"mean_orthogonal_router",
       {"phases.moe.grow.upcycle.router=mean-orthogonal"}},
      {"fine_grained",
       {"phases.moe.grow.upcycle.granularity=2",
        "phases.moe.grow.upcycle.num_experts_per_tok=2"}},
      {"shared_expert", {"phases.moe.grow.upcycle.shared_expert=true"}},
      {"drop_upcycling", {"phases.moe.grow.upcycle.drop_ratio=0.5"}},
      {"expand_experts",
       {"phases.large.grow={expand_experts: {factor: 2}}", kFewSteps}},
      {"selection_bias",
       {"phases.moe.grow.upcycle.selection_bias=true",
        "phases.moe.train.selection_bias_rate=0.01",
        "phases.large.grow={expand_experts: {num_experts_per_tok: 2, "
        "selection_bias: true}}",
        "phases.large.train.selection_bias_rate=0.01", kFewSteps}},
      {"centroids", {"phases.moe.grow.upcycle.router=centroids"}},
      {"perturb",
       {"phases.medium.grow={perturb: {relative_std: 0.01}}",
        "phases.large.grow={perturb: {tensors: [router, embedding]}}"}},
      {"shrink_perturb",
       {"phases.large.grow={shrink_perturb: {shrink: 0.5, relative_std: 0.1}}",
        kFewSteps}},
      {"extend",
       {"phases.medium.grow={extend: {max_position_embeddings: 4096}}"}},
      {"untie", {"phases.medium.grow={untie: {}}"}},
      {"random_layers", {"phases.large.grow.deepen.weights=random"}},
      {"widen_by_a_fraction", {"phases.medium.grow.widen.factor=1.5"}},
      {"stacked_exactly",
       {"phases.large.grow.deepen.preset=stack",
        "phases.large.grow.deepen.outputs=zero",
        "phases.large.grow.deepen.add_layers=2",
        "phases.medium.grow.dynamics=exact"}},
  };
}

class DeviceRun : public testing::Test {
 protected:
  Plan plan(const std::string& folder, std::vector<std::string> set) const {
    const std::filesystem::path source = ANNULI_SOURCE_DIR;
    set.push_back("output_dir=" + in(folder).string());
    set.push_back("data.cache_dir=" + in("tokens").string());
    set.push_back("data.text=[" + (source / "tests/data/village").string() +
                  "]");
    return load_plan(file(), set);
  }

  std::vector<Json> run(const std::string& folder,
                        const std::vector<std::string>& set, at::Device device,
                        IfPresent present = IfPresent::kForce) const {
    run::run_plan(plan(folder, set), file(), present, {}, device);
    return history(folder);
  }

  std::vector<Json> history(const std::string& folder) const {
    return train::read_history(in(folder) / "training_history.jsonl");
  }

  static std::filesystem::path file() {
    return std::filesystem::path(ANNULI_SOURCE_DIR) / "plans/tiny.yaml";
  }
  std::filesystem::path in(const std::string& name) const {
    return scratch_.path() / name;
  }

  ScratchFolder scratch_;
};

// The greatest relative distance of what two runs noted. A gradient's norm and
// the experts' balance move by a token's share where one token chooses another
// expert.
double distance(const std::vector<Json>& a, const std::vector<Json>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  const auto see = [&](size_t i, const char* key, double share) {
    if (!a[i].contains(key)) return;
    const double x = a[i].at(key);
    const double y = b[i].at(key);
    if (x != y) worst = std::max(worst, share * std::abs(x - y) / std::abs(x));
  };
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    for (const char* key : {"loss", "eval_loss", "probe_loss_after"}) {
      see(i, key, 1);
    }
    for (const char* key : {"grad_norm", "moe_aux_loss"}) {
      see(i, key, 1 / kTokens);
    }
  }
  return worst;
}

class DeviceRunOf : public DeviceRun,
                    public testing::WithParamInterface<Variant> {};
INSTANTIATE_TEST_SUITE_P(All, DeviceRunOf, testing::ValuesIn(variants()),
                         [](const auto& v) {
                           return std::string(v.param.name);
                         });

TEST_P(DeviceRunOf, AgreesWithTheCpu) {
  const auto there = run("there", GetParam().set, pretend_device());
  const auto here = run("here", GetParam().set, at::kCPU);
  const double apart = distance(here, there);
  fmt::print("{}: apart by {:.1e} of {:.0e}\n", GetParam().name, apart,
             GetParam().tolerance);
  EXPECT_LE(apart, GetParam().tolerance);
}

// What the tolerances are worth: another rate is further off than any of them.
TEST_F(DeviceRun, AnotherRateIsSeen) {
  const std::vector<std::string> off = {
      "phases.dense.train.learning_rate=1.5e-3"};
  EXPECT_GT(distance(run("here", {}, at::kCPU), run("off", off, at::kCPU)),
            kBf16);
}

TEST_F(DeviceRun, ResumesWhatItSaved) {
  const auto whole = run("whole", {}, pretend_device());
  request_stop(SIGTERM);
  EXPECT_THROW(run("stopped", {}, pretend_device()), run::Stopped);
  request_stop(0);
  const auto resumed = run("stopped", {}, pretend_device(), IfPresent::kResume);
  EXPECT_EQ(distance(whole, resumed), 0);
  const auto last = [&](const std::string& folder) {
    return read_lineage(in(folder) / "lineage.json").back().child;
  };
  EXPECT_EQ(last("whole"), last("stopped"));
}

// A state is no device's: what one saved another goes on with.
TEST_F(DeviceRun, TheCpuGoesOnWithItsState) {
  const auto here = run("here", {}, at::kCPU);
  request_stop(SIGTERM);
  EXPECT_THROW(run("there", {}, pretend_device()), run::Stopped);
  request_stop(0);
  const auto resumed = run("there", {}, at::kCPU, IfPresent::kResume);
  EXPECT_LE(distance(here, resumed), kFp32);
}

TEST_F(DeviceRun, WhatItCannotComputeIsRefusedInOneLine) {
  try {
    run("codes", {"optimizer.type=adamw_8bit"}, pretend_device());
    FAIL() << "8-bit moments ran";
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("optimizer.type adamw_8bit"), std::string::npos);
    EXPECT_NE(text.find("pretend"), std::string::npos);
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
  EXPECT_FALSE(std::filesystem::exists(in("codes")));
}

}  // namespace
}  // namespace annuli::test
