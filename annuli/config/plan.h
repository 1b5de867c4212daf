#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/config/phase_plan.h"
#include "annuli/core/json.h"

// A plan: one YAML file with the model, the data and a list of phases.
//
// Guarantees after `load_plan` or `parse_plan`: every value lies in its range,
// the phases fit each other (see `check`), and what depends on other fields is
// filled in: every `checkpoint` and every `router_mean_projection` is set.
// Every field is listed once, in plan_fields.h; parsing, help, defaults,
// writing and `--set` all walk that list.
//
// Corner cases: relative paths are kept as written and mean the current
// folder; an unset vocab_size is the tokenizer's (see `model_config`).
namespace annuli {

// Of weights and arithmetic; see model/number_types.h.
enum class Precision { kFp32, kFp64, kBf16Mixed, kBf16, kInt8Weights };
ANNULI_ENUM_WORDS(Precision, "fp32", "fp64", "bf16-mixed", "bf16",
                  "int8-weights");
enum class DeviceChoice { kAuto, kCpu, kCuda };
ANNULI_ENUM_WORDS(DeviceChoice, "auto", "cpu", "cuda");
enum class OptimizerType { kAdamw, kAdamw8bit, kAdafactor, kSgd, kMuon };
ANNULI_ENUM_WORDS(OptimizerType, "adamw", "adamw_8bit", "adafactor", "sgd",
                  "muon");
// What Muon's orthogonal update of a matrix [rows, columns] is multiplied by.
enum class MuonScale {
  kKeller,     // sqrt(max(1, rows / columns))
  kMoonlight,  // 0.2 sqrt(max(rows, columns)), the rms of AdamW's updates
};
ANNULI_ENUM_WORDS(MuonScale, "keller", "moonlight");
// What moments are kept in; an fp64 run keeps fp64 for fp32.
enum class StateDtype { kFp32, kBf16 };
ANNULI_ENUM_WORDS(StateDtype, "fp32", "bf16");
// After a check that failed at a phase's end, a loss or gradient that is not
// finite, or a loss spike (train/loss_watch.h).
enum class OnFailure { kStop, kRollback };
ANNULI_ENUM_WORDS(OnFailure, "stop", "rollback");

// Which windows of the text a run takes.
enum class WindowOrder {
  kRandom,  // each begins anywhere, drawn with replacement
  kEpochs,  // all text once, shuffled; then all once more, in another order
};
ANNULI_ENUM_WORDS(WindowOrder, "random", "epochs");

// One text of several that are mixed.
struct TextSource {
  std::vector<std::string> text;  // files, folders, globs
  double weight = 1;              // of its tokens, against the others'
  bool operator==(const TextSource&) const = default;
};

struct DataPlan {
  std::vector<std::string> text;     // files, folders, globs
  std::vector<TextSource> mixture;   // instead of text
  std::string text_column = "text";  // of JSON lines and Parquet
  std::string tokens;                // a ready token file, instead of text
  std::string begin_token;           // a token's text, its id, or none;
  std::string end_token;             // empty: as the tokenizer's files say
  std::string split_at;              // documents end where the text spells it
  bool document_mask = false;        // attention stays within documents
  WindowOrder order = WindowOrder::kRandom;
  int64_t sequence_length = 256;
  double validation_fraction = 0.05;
  std::string cache_dir;  // of token files; empty: build/data/tokens
  bool operator==(const DataPlan&) const = default;
};

// What the first phase starts from; unset fields follow from the others.
struct ModelPlan {
  std::string from;    // a model folder or .pt; the other fields follow from it
  std::string family;  // of transformers, whose switches count; or ""
  std::optional<int64_t> vocab_size;  // the tokenizer's
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  std::optional<int64_t> num_key_value_heads;  // num_attention_heads
  std::optional<int64_t> head_dim;  // hidden_size / num_attention_heads
  int64_t num_experts = 0;
  int64_t num_experts_per_tok = 0;
  bool selection_bias = false;  // of a mixture; see ModelConfig
  Activation hidden_act = Activation::kGelu;
  bool gated = false;
  bool qk_norm = false;
  bool tie_word_embeddings = true;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  int64_t max_position_embeddings = 2048;
  double initializer_range = 0.02;
  bool operator==(const ModelPlan&) const = default;
};

// Rate and decay of the tensors of some parts.
struct OptimizerGroup {
  std::vector<TensorPart> parts;
  double lr_factor = 1;                // times the phase's learning rate
  std::optional<double> weight_decay;  // nullopt: as for the others
  bool operator==(const OptimizerGroup&) const = default;
};

struct OptimizerPlan {
  OptimizerType type = OptimizerType::kAdamw;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0.01;
  double momentum = 0;           // sgd; 0: none, and no state
  double decay_rate = 0.8;       // adafactor: b2 = 1 - t^-decay_rate
  double clip_threshold = 1;     // adafactor: of the update's rms
  bool scale_parameter = false;  // adafactor: rate times the weight's rms
  double muon_momentum = 0.95;   // muon: matrices of the blocks; adam_* for all
  MuonScale muon_scale = MuonScale::kMoonlight;
  StateDtype state_dtype = StateDtype::kFp32;
  std::vector<OptimizerGroup> groups;  // no part stands in two
  bool operator==(const OptimizerPlan&) const = default;
};

// The learning rate over the whole run: a share, 0 .. 1, of each phase's
// learning_rate. Amounts are "500" (steps), "2%" (of the run's tokens) or "1e6
// tokens".
struct SchedulePlan {
  LrSchedulerType type = LrSchedulerType::kWsd;
  std::string warmup = "0";
  std::string decay = "20%";  // wsd: at the end, within the last phase
  double min_lr_ratio = 0;    // linear, cosine, wsd: the last share
  bool operator==(const SchedulePlan&) const = default;
};

// What a run may spend: exactly one is set.
struct BudgetPlan {
  std::optional<double> tokens;
  std::optional<double> flops;
  bool operator==(const BudgetPlan&) const = default;
};

struct ProbePlan {
  int64_t windows = 8;
  int64_t length = 256;
  int64_t router_tokens = 2048;
  bool operator==(const ProbePlan&) const = default;
};

struct EvaluationPlan {
  int64_t windows = 8;
  int64_t eval_steps = 0;  // 0: at phase ends only
  bool operator==(const EvaluationPlan&) const = default;
};

struct SamplesPlan {
  std::vector<std::string> prompts;
  int64_t max_new_tokens = 48;
  double temperature = 0.8;
  int64_t top_k = 50;  // 0: all
  bool operator==(const SamplesPlan&) const = default;
};

// What processes that share a run hold each a part of. It changes no bit.
enum class Sharding {
  kNone,       // every process holds all
  kOptimizer,  // each its part of the optimizer's state
  kFull,       // and of the weights, while it trains
};
ANNULI_ENUM_WORDS(Sharding, "none", "optimizer", "full");

// Of several processes that share a run.
struct ParallelPlan {
  double timeout = 600;  // seconds that one waits for the others
  Sharding shard = Sharding::kNone;
  bool operator==(const ParallelPlan&) const = default;
};

struct Plan {
  std::string name;
  int64_t seed = 0;
  std::string output_dir;  // loaded: "runs/<name>" if empty
  Precision precision = Precision::kFp32;
  DeviceChoice device = DeviceChoice::kAuto;
  int64_t threads = 0;  // of one process; 0: all, divided among processes
  ParallelPlan parallel;
  std::string tokenizer = "bytes";  // or a path
  DataPlan data;
  ModelPlan model;
  OptimizerPlan optimizer;
  std::optional<SchedulePlan> schedule;  // of all phases that have none
  std::optional<BudgetPlan> budget;      // of all phases that have a share
  ProbePlan probe;
  EvaluationPlan evaluation;
  SamplesPlan samples;
  int64_t save_steps = 0;        // 0: at phase ends only
  int64_t save_total_limit = 2;  // training states kept
  OnFailure on_failure = OnFailure::kStop;
  int64_t max_rollbacks = 3;        // in one phase
  double rollback_lr_factor = 0.5;  // of the rate, at every rollback
  int64_t logging_steps = 1;        // console lines; the history has every step
  int64_t measure_steps = 50;       // norms, updates, copies; 0: never
  std::vector<std::string> report_to;  // "tensorboard"
  std::vector<std::string> allow;      // checks whose failure is a warning
  // Nats, for steps that are not exact; nullopt: what the operator states.
  std::optional<double> boundary_loss_budget;
  std::vector<PhasePlan> phases;
  bool operator==(const Plan&) const = default;
};

// `overrides` are texts "key=value", applied in order to the YAML before it is
// read: "phases.0.train.max_steps=3", or a phase by name, "phases.moe.allow=
// [router_health]". Throws UserError: one line with file and line (or the
// override), key, found, expected.
Plan load_plan(const std::filesystem::path& path,
               const std::vector<std::string>& overrides = {});

// The same from text; `source` stands for the file in messages.
Plan parse_plan(std::string_view yaml, const std::string& source,
                const std::vector<std::string>& overrides = {});

// Throws UserError if fields contradict each other: a first phase that grows,
// upcycling a mixture, a layer map out of range, sizes that do not divide ...
void check(const Plan& plan);

// Every field, in the order of the file. Reading them back gives an equal plan.
std::string to_yaml(const Plan& plan);
Json to_json(const Plan& plan);

// Without the fields that say only where and how a run happens (output_dir,
// device, threads, parallel, cache_dir, saving, logging, rollbacks) or what may
// pass with a warning (allow).
Json hashed_json(const Plan& plan);

// SHA-256 of that.
std::string plan_hash(const Plan& plan);

// Every field with its default, range and help, for people.
std::string plan_help();

// The names `allow` accepts: those of the checks after a growth step.
const std::vector<std::string>& check_names();

// The first phase's model. Throws UserError if vocab_size is set and below the
// tokenizer's.
ModelConfig model_config(const ModelPlan& model, int64_t tokenizer_vocab_size);

}  // namespace annuli
