#include "annuli/config/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "annuli/core/error.h"

namespace annuli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kSmall = R"(
name: small
data: {text: corpus.txt}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4}
phases:
  - name: first
    train: {max_steps: 3, learning_rate: 1e-3, batch_size: 2}
  - name: second
    grow: {upcycle: {}, optimizer: reset, dynamics: exact}
    train: {max_steps: 3, learning_rate: 1e-3, batch_size: 2}
  - name: third
    grow: {widen: {factor: 3, noise_snr_db: none, head: fold}}
    train: {max_steps: 3, learning_rate: 1e-3, batch_size: 2}
  - name: fourth
    grow: {deepen: {layer_map: [0, 0, 1, 1]}}
    train: {max_steps: 3, learning_rate: 1e-3, batch_size: 2}
)";

Plan small(const std::vector<std::string>& overrides = {}) {
  return parse_plan(kSmall, "small.yaml", overrides);
}

std::filesystem::path plans_folder() { return ANNULI_PLANS_DIR; }

std::vector<std::filesystem::path> all_plans() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(plans_folder())) {
    if (entry.path().extension() == ".yaml") paths.push_back(entry.path());
  }
  return paths;
}

TEST(Plan, DefaultsAreTheMembers) {
  const Plan plan = small();
  EXPECT_TRUE(plan.optimizer == OptimizerPlan{});
  EXPECT_TRUE(plan.probe == ProbePlan{});
  EXPECT_TRUE(plan.samples == SamplesPlan{});
  EXPECT_EQ(plan.precision, Precision::kFp32);
  EXPECT_TRUE(plan.phases[1].grow->upcycle == UpcyclePlan{});
}

TEST(Plan, ReadsWhatIsWritten) {
  const Plan plan = small();
  EXPECT_THAT(plan.data.text, ElementsAre("corpus.txt"));
  ASSERT_EQ(plan.phases.size(), 4u);
  EXPECT_FALSE(plan.phases[0].grow);
  EXPECT_EQ(plan.phases[0].train.learning_rate, 1e-3);
  EXPECT_EQ(plan.phases[1].grow->optimizer, OptimizerState::kReset);
  EXPECT_EQ(plan.phases[1].grow->dynamics, Dynamics::kExact);
  EXPECT_EQ(plan.phases[2].grow->widen->factor, 3);
  EXPECT_EQ(plan.phases[2].grow->widen->noise_snr_db, std::nullopt);
  EXPECT_EQ(plan.phases[2].grow->widen->head, WidenHead::kFold);
  EXPECT_THAT(plan.phases[3].grow->deepen->layer_map, ElementsAre(0, 0, 1, 1));
}

TEST(Plan, FillsInWhatFollows) {
  const Plan plan = small();
  EXPECT_EQ(plan.output_dir, "runs/small");
  EXPECT_EQ(plan.phases[2].checkpoint, "third.pt");
  EXPECT_EQ(plan.phases[0].train.router_mean_projection, false);
  EXPECT_EQ(plan.phases[3].train.router_mean_projection, true);
  const Plan zero = small({"phases.second.grow.upcycle.router=zero"});
  EXPECT_EQ(zero.phases[3].train.router_mean_projection, false);
}

TEST(Plan, AliasesAreExpanded) {
  const Plan plan = parse_plan(R"(
name: aliases
data: {text: [a.txt]}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4}
phases:
  - name: first
    train: &train {max_steps: 7, learning_rate: 1e-3, batch_size: 2}
  - name: second
    grow: {upcycle: {}}
    train: *train
)",
                               "aliases.yaml");
  EXPECT_EQ(plan.phases[1].train.max_steps, 7);
}

TEST(PlanSet, ReplacesAndAdds) {
  const Plan plan =
      small({"phases.0.train.max_steps=5", "phases.second.train.max_steps=6",
             "data.sequence_length=128", "optimizer.type=adamw",
             "samples.prompts=[one, 'two, three']",
             "phases.third.grow.widen.noise_snr_db=12.5",
             "data.text=other=name.txt", "seed=1", "seed=2"});
  EXPECT_EQ(plan.phases[0].train.max_steps, 5);
  EXPECT_EQ(plan.phases[1].train.max_steps, 6);
  EXPECT_EQ(plan.phases[2].train.max_steps, 3);
  EXPECT_EQ(plan.data.sequence_length, 128);
  EXPECT_THAT(plan.samples.prompts, ElementsAre("one", "two, three"));
  EXPECT_EQ(plan.phases[2].grow->widen->noise_snr_db, 12.5);
  EXPECT_THAT(plan.data.text, ElementsAre("other=name.txt"));
  EXPECT_EQ(plan.seed, 2);
}

TEST(PlanSet, NullReturnsToNothing) {
  const Plan plan =
      small({"phases.3.grow.deepen=null", "phases.3.grow.widen.factor=2"});
  EXPECT_FALSE(plan.phases[3].grow->deepen);
  EXPECT_EQ(plan.phases[3].grow->widen->factor, 2);
}

TEST(PlanWrite, EveryShippedPlanReadsBackEqual) {
  const auto paths = all_plans();
  ASSERT_GE(paths.size(), 5u);
  for (const auto& path : paths) {
    const Plan plan = load_plan(path);
    EXPECT_TRUE(parse_plan(to_yaml(plan), "yaml") == plan) << path;
    EXPECT_TRUE(parse_plan(to_json(plan).dump(), "json") == plan) << path;
    EXPECT_EQ(plan_hash(parse_plan(to_yaml(plan), "yaml")), plan_hash(plan));
  }
}

TEST(PlanWrite, OddTextsReadBackEqual) {
  Plan plan = small();
  plan.samples.prompts = {
      "",      "~",           "null", "true",    "12",
      "- a",   "a: b",        "#",    "[x]",     "two\nlines",
      "tab\t", "q\"uote",     "'",    "back\\n", " led",
      "end ",  "&a",          "*a",   "!t",      "\x01\x7f",
      "été",   "日本 🙂", "a #b", "1e5",     "%x"};
  plan.phases[0].expected = {{"loss first: #1", "~7"}, {"jump", "<0.5"}};
  plan.phases[0].train.learning_rate = 0.1 + 0.2;  // needs all 17 digits
  plan.data.text = {"a, b.txt", "*.txt", "{x}"};
  EXPECT_TRUE(parse_plan(to_yaml(plan), "yaml") == plan) << to_yaml(plan);
}

// Control for the two tests above: writing shows every field.
TEST(PlanWrite, EachChangeShows) {
  const std::string before = to_yaml(small());
  for (const char* change :
       {"seed=1", "precision=fp64", "data.sequence_length=128",
        "model.qk_norm=true", "optimizer.adam_beta2=0.95",
        "optimizer.state_dtype=bf16", "probe.windows=9",
        "evaluation.eval_steps=1", "samples.top_k=3", "allow=router_health",
        "phases.0.train.decay_ratio=0.3", "phases.1.grow.upcycle.router=zero",
        "phases.2.grow.widen.noise_snr_db=1", "phases.3.expected.jump=7"}) {
    EXPECT_NE(to_yaml(small({change})), before) << change;
  }
}

TEST(PlanHash, SeesWhatIsComputedAndNotWhere) {
  const std::string hash = plan_hash(small());
  EXPECT_EQ(hash.size(), 64u);
  for (const char* same : {"output_dir=elsewhere", "threads=1", "device=cpu",
                           "save_steps=2", "data.cache_dir=/tmp/x"}) {
    EXPECT_EQ(plan_hash(small({same})), hash) << same;
  }
  for (const char* other :
       {"seed=1", "phases.0.train.max_steps=4", "data.validation_fraction=0.1",
        "data.begin_token=<s>", "data.end_token=2", "data.split_at=<e>"}) {
    EXPECT_NE(plan_hash(small({other})), hash) << other;
  }
}

// They came later: a run that was begun before them can be resumed.
TEST(PlanHash, DocumentBordersAreInItOnlyWhereTheyAreGiven) {
  const Json data = hashed_json(small()).at("data");
  for (const char* field : {"begin_token", "end_token", "split_at"}) {
    EXPECT_FALSE(data.contains(field)) << field;
  }
  EXPECT_EQ(
      hashed_json(small({"data.end_token=none"})).at("data").at("end_token"),
      "none");
}

// It was 0.5 where nobody gave it: a run that was begun then can be resumed.
TEST(PlanHash, AnUnsetBudgetCountsAsItDid) {
  EXPECT_EQ(small().boundary_loss_budget, std::nullopt);
  EXPECT_EQ(hashed_json(small()).at("boundary_loss_budget"), 0.5);
  EXPECT_EQ(to_json(small()).at("boundary_loss_budget"), Json());
  EXPECT_EQ(small({"boundary_loss_budget=0.7"}).boundary_loss_budget, 0.7);
}

TEST(PlanFields, AListOfWordsIsReadWrittenAndHelped) {
  const Plan plan =
      small({"phases.1.grow={perturb: {tensors: [router, attention]}}"});
  ASSERT_TRUE(plan.phases[1].grow->perturb);
  EXPECT_EQ(plan.phases[1].grow->perturb->tensors,
            (std::vector<MatrixGroup>{MatrixGroup::kRouter,
                                      MatrixGroup::kAttention}));
  EXPECT_EQ(to_json(plan)["phases"][1]["grow"]["perturb"]["tensors"],
            Json({"router", "attention"}));
  EXPECT_THAT(plan_help(),
              HasSubstr("perturb.tensors: list of words; default "
                        "[attention,feed-forward]\n      Matrices that get "
                        "noise: attention, feed-forward, router, embedding"));
}

TEST(PlanHelp, NamesFieldsRangesAndDefaults) {
  const std::string help = plan_help();
  EXPECT_THAT(help, HasSubstr("data.sequence_length: integer, 2 to 1048576; "
                              "default 256\n      Length of a training"));
  EXPECT_THAT(
      help,
      HasSubstr("phases.N.grow.widen.head: untie|fold|multiplier; default "
                "untie"));
  EXPECT_THAT(help, HasSubstr("phases.N.train.batch_size: integer, 1 to "
                              "1048576; required"));
  size_t longest = 0;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    longest = std::max(longest, line.size());
  }
  EXPECT_LE(longest, 80u);
}

TEST(PlanModel, UnsetSizesFollowFromOthers) {
  const ModelConfig config = model_config(small().model, 256);
  EXPECT_EQ(config.vocab_size, 256);
  EXPECT_EQ(config.num_key_value_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  const Plan set = small({"model.vocab_size=300", "model.head_dim=16",
                          "model.num_key_value_heads=2"});
  const ModelConfig other = model_config(set.model, 256);
  EXPECT_EQ(other.vocab_size, 300);
  EXPECT_EQ(other.num_key_value_heads, 2);
  EXPECT_EQ(other.head_dim, 16);
}

// The switches are the class's, the sizes the plan's.
TEST(PlanModel, AFamilyGivesItsSwitches) {
  const Plan plan = small({"model.family=gpt_neox", "model.rope_theta=5000"});
  const ModelConfig config = model_config(plan.model, 256);
  EXPECT_EQ(model_type(config), "gpt_neox");
  EXPECT_TRUE(config.parallel_residual && config.fused_qkv);
  EXPECT_TRUE(config.qkv_bias && config.o_bias && config.mlp_bias);
  EXPECT_EQ(config.norm_type, NormType::kLayer);
  EXPECT_EQ(config.partial_rotary_factor, 0.25);
  EXPECT_EQ(config.rope_theta, 5000);
  EXPECT_EQ(config.rms_norm_eps, plan.model.rms_norm_eps);
  EXPECT_EQ(config.hidden_size, plan.model.hidden_size);
  const Plan llama = small({"model.family=llama", "model.gated=true"});
  EXPECT_TRUE(model_config(llama.model, 256).gated);
}

TEST(PlanModel, AFamilyThatItsOtherFieldsContradictIsRefused) {
  const auto refused = [](const std::vector<std::string>& overrides,
                          const char* says) {
    EXPECT_THAT([&] { model_config(small(overrides).model, 256); },
                ::testing::ThrowsMessage<UserError>(HasSubstr(says)))
        << says;
  };
  refused({"model.family=gpt_neox", "model.gated=true"}, "model.gated");
  refused({"model.family=gpt_neox", "model.qk_norm=true"}, "model.qk_norm");
  refused({"model.family=gpt_neox", "model.head_dim=16"}, "head_dim");
  refused({"model.family=gpt_neox", "model.num_key_value_heads=2"},
          "num_key_value_heads");
  refused({"model.family=mixtral"}, "model.num_experts: found 0");
  refused({"model.family=gpt_nex"}, "expected one of");
}

TEST(SeedPlan, IsTheSeeds) {
  const Plan plan = load_plan(plans_folder() / "seed.yaml");
  ASSERT_EQ(plan.phases.size(), 4u);
  const char* files[] = {"dense_model.pt", "moe_model_final.pt",
                         "medium_moe_final.pt", "large_moe_final.pt"};
  const double rates[] = {3e-4, 1e-4, 8e-5, 5e-5};
  const int64_t batches[] = {8, 8, 2, 1};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(plan.phases[i].checkpoint, files[i]);
    EXPECT_EQ(plan.phases[i].train.learning_rate, rates[i]);
    EXPECT_EQ(plan.phases[i].train.batch_size, batches[i]);
    EXPECT_EQ(plan.phases[i].train.max_steps, 10);
  }
  EXPECT_EQ(plan.phases[1].init_checkpoint, "moe_model_init.pt");
  EXPECT_TRUE(model_config(plan.model, 50257) == ModelConfig{});
}

}  // namespace
}  // namespace annuli
