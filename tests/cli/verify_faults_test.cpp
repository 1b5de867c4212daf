// The nine faults that converters of checkpoints make, each in a folder that
// the program judges: the right child is proved, the broken one refuted in one
// line that names the place; whether the program is told how the child was made
// or has to find out.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/json.h"
#include "annuli/core/rng.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/normal_fill.h"
#include "program.h"
#include "tests/support/tiny_model.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

struct Case {
  const char* name;
  tiny::Flavour flavour;
  std::shared_ptr<const grow::Operator> op;
  // What is done to the right child, or to its folder.
  std::function<void(Transformer& child, const Transformer& parent)> damage;
  std::function<void(const fs::path& folder)> damage_folder;
  std::vector<std::string> says;  // parts of the one line
};

at::Tensor weight(const Transformer& model, Part part, int64_t layer = -1,
                  int64_t expert = -1) {
  return model.weight(
      static_cast<size_t>(find_row(model.table(), part, layer, expert)));
}

void set_in_config(const fs::path& folder, const char* key, const json& value) {
  Json config = read_json(folder / "config.json");
  if (value.is_null()) {
    config.erase(key);
  } else {
    config[key] = value;
  }
  if (config.contains("rope_parameters") && std::string(key) == "rope_theta") {
    config["rope_parameters"]["rope_theta"] = value;
  }
  write_json(folder / "config.json", config);
}

void halve_table(Transformer& child, const Transformer&) {
  weight(child, Part::kEmbedding).mul_(0.5);
}

void undo_division(Transformer& child, const Transformer&) {
  weight(child, Part::kRouter, 1).mul_(2);
}

// Every row twice in a row, instead of all heads and then all heads again.
void tile_heads_by_element(Transformer& child, const Transformer& parent) {
  for (const Part part : {Part::kQ, Part::kK, Part::kV}) {
    weight(child, part, 1)
        .copy_((weight(parent, part, 1) / 2)
                   .repeat_interleave(2, 0)
                   .repeat({1, 2}));
  }
  weight(child, Part::kO, 1)
      .copy_((weight(parent, Part::kO, 1) / 2)
                 .repeat_interleave(2, 1)
                 .repeat({2, 1}));
}

void leave_expert_random(Transformer& child, const Transformer&) {
  for (const Part part : {Part::kGate, Part::kUp, Part::kDown}) {
    at::Tensor drawn = weight(child, part, 1, 2);
    kernels::fill_normal(drawn, CounterRng(1, "strange"), 0.2);
  }
}

void add_noise_alike(Transformer& child, const Transformer&) {
  const at::Tensor o = weight(child, Part::kO, 2);
  const int64_t half = o.size(1) / 2;
  o.narrow(1, half, half).copy_(o.narrow(1, 0, half));
}

// The child's weights in two shards, and the second one lost.
void drop_shard(const fs::path& folder) {
  const SafetensorsFile whole(folder / "model.safetensors");
  std::vector<NamedTensor> shards[2];
  Json index;
  for (const TensorEntry& entry : whole.entries()) {
    const bool second = entry.name.find("layers.2") != std::string::npos;
    shards[second].push_back({entry.name, whole.copy(entry.name)});
    index["weight_map"][entry.name] = second
                                          ? "model-00002-of-00002.safetensors"
                                          : "model-00001-of-00002.safetensors";
  }
  write_safetensors(folder / "model-00001-of-00002.safetensors", shards[0]);
  write_json(folder / "model.safetensors.index.json", index);
  fs::remove(folder / "model.safetensors");
}

std::function<void(const fs::path&)> setting(const char* key,
                                             const json& value) {
  return [key, value](const fs::path& folder) {
    set_in_config(folder, key, value);
  };
}

std::vector<Case> cases() {
  using std::make_shared;
  const auto fold =
      make_shared<grow::Widen>(WidenPlan{.head = WidenHead::kFold});
  const auto untie = make_shared<grow::Widen>(WidenPlan{});
  const auto upcycle =
      make_shared<grow::Upcycle>(UpcyclePlan{.num_experts = 4});
  const tiny::Flavour llama = {.gated = true};
  const tiny::Flavour mixtral = {
      .mixture = true, .gated = true, .num_key_value_heads = 2};
  const tiny::Flavour qwen3 = {
      .gated = true, .qk_norm = true, .num_key_value_heads = 2};
  return {
      {"HalvedTiedTable",
       llama,
       fold,
       halve_table,
       {},
       {"model.embed_tokens.weight"}},
      {"UndividedRouter",
       mixtral,
       untie,
       undo_division,
       {},
       {"model.layers.1.block_sparse_moe.gate.weight", "layer 1"}},
      {"HeadsTiledByElement",
       llama,
       untie,
       tile_heads_by_element,
       {},
       {"model.layers.1.self_attn.q_proj.weight", "layer 1"}},
      {"OneExpertLeftRandom",
       llama,
       upcycle,
       leave_expert_random,
       {},
       {"model.layers.1.block_sparse_moe.experts.2.", "layer 1"}},
      {"DroppedShard",
       llama,
       upcycle,
       {},
       drop_shard,
       {"model-00002-of-00002.safetensors"}},
      {"NoiseThatDoesNotCancel",
       llama,
       untie,
       add_noise_alike,
       {},
       {"model.layers.2.self_attn.o_proj.weight", "layer 2"}},
      {"RmsNormEpsChanged",
       llama,
       untie,
       {},
       setting("rms_norm_eps", 2e-5),
       {"config.json", "rms_norm_eps is 2e-05, expected 1e-05"}},
      {"RopeThetaChanged",
       qwen3,
       untie,
       {},
       setting("rope_theta", 9999.0),
       {"config.json", "rope_theta is 9999.0, expected 10000.0"}},
      {"NormTopkProbDropped",
       qwen3,
       upcycle,
       {},
       setting("norm_topk_prob", nullptr),
       {"norm_topk_prob"}},
  };
}

class VerifyFaults : public ::testing::TestWithParam<Case> {
 protected:
  VerifyFaults()
      : parent_(tiny::model(tiny::config(GetParam().flavour), at::kFloat)),
        recipe_(GetParam().op->recipe(parent_.config(), 3)) {
    save_folder(parent_, scratch_.path() / "parent");
    write_json(scratch_.path() / "map.json", {{recipe_.op, recipe_.arguments}});
  }

  Transformer child() const {
    return grow::grow(tiny::clone(parent_), recipe_);
  }

  Outcome verify(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"verify",
                                          scratch_.file("parent"),
                                          scratch_.file("child"),
                                          "--tokens",
                                          "512",
                                          "--length",
                                          "64"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, scratch_.path());
  }

  void expect_proved(const std::vector<std::string>& more) const {
    const Outcome outcome = verify(more);
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  }

  void expect_refuted(const std::vector<std::string>& more) const {
    const Outcome outcome = verify(more);
    EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    for (const std::string& part : GetParam().says) {
      EXPECT_THAT(outcome.err, HasSubstr(part)) << outcome.out;
    }
  }

  ScratchFolder scratch_;
  Transformer parent_;
  grow::Recipe recipe_;
};

INSTANTIATE_TEST_SUITE_P(Program, VerifyFaults, ::testing::ValuesIn(cases()),
                         [](const auto& instance) {
                           return std::string(instance.param.name);
                         });

TEST_P(VerifyFaults, RefutedAndTheWholeChildProved) {
  const fs::path folder = scratch_.path() / "child";
  const std::vector<std::string> told = {"--map", scratch_.file("map.json")};
  Transformer model = child();
  save_folder(model, folder);
  expect_proved({});
  expect_proved(told);
  if (GetParam().damage) {
    GetParam().damage(model, parent_);
    save_folder(model, folder);
  } else {
    GetParam().damage_folder(folder);
  }
  expect_refuted({});
  expect_refuted(told);
}

}  // namespace
}  // namespace annuli::test
