// A step that processes share has the bits of one process that makes it alone.
#include <ATen/TensorOperators.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/model/weight_parts.h"
#include "annuli/parallel/solo.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/gradient_exchange.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using parallel::ProcessGroup;

// All that a step can depend on.
struct Setting {
  bool mixture = true;
  bool tied = true;
  bool selection_bias = false;
  Precision precision = Precision::kFp32;
  OptimizerPlan optimizer = {};
  int64_t length = 12;
  int64_t parts = 4;
  int64_t layers = 3;
  Sharding shard = Sharding::kNone;
  std::function<void(TrainPlan&)> change = [](TrainPlan&) {};
};

// The bytes of a tensor; -0 is not 0.
std::string bytes_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "none";
  const at::Tensor whole = tensor.detach().contiguous();
  return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

constexpr const char* kElsewhere = "held by another process";

// What a run leaves: by name, the bytes of weights and state, and the records.
// State that other processes hold is not there.
struct Outcome {
  std::vector<std::pair<std::string, std::string>> tensors;
  std::vector<std::string> records;
  int64_t sent = 0;  // in the last step

  std::string first_difference(const Outcome& other) const {
    for (size_t i = 0; i < records.size(); ++i) {
      if (records[i] != other.records[i]) {
        return records[i] + " beside " + other.records[i];
      }
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].second == kElsewhere) continue;
      if (tensors[i] != other.tensors[i]) return tensors[i].first;
    }
    return "";
  }
};

// Exact: doubles in hexadecimal.
std::string line_of(const StepRecord& record) {
  std::string line = fmt::format(
      "{} {:a} {:a} {:a} {:a} {} {}", record.step, record.loss, record.aux_loss,
      record.z_loss, record.grad_norm, record.tokens, record.stop_signal);
  for (const auto& slots : record.load) {
    for (const int64_t n : slots) line += fmt::format(" {}", n);
  }
  return line;
}

class TrainerProcesses : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  // Matrices of 24 x 192 are large enough for 8-bit codes.
  static ModelConfig config(const Setting& setting) {
    ModelConfig config =
        tiny::config({.mixture = setting.mixture,
                      .gated = true,
                      .tied = setting.tied,
                      .selection_bias = setting.selection_bias});
    config.intermediate_size = 192;
    config.num_hidden_layers = setting.layers;
    return config;
  }
  static Transformer model(const Setting& setting) {
    Transformer model(config(setting), number_types(setting.precision));
    initialize(model, 1);
    return model;
  }
  data::Loader loader(const Setting& setting) const {
    return {*file_, {{0, 2000}}, setting.length, 1, "t"};
  }
  static TrainPlan plan(const Setting& setting) {
    TrainPlan train;
    train.batch_size = setting.parts;
    train.micro_batch_size = 1;
    train.learning_rate = 1e-2;
    setting.change(train);
    return train;
  }

  Outcome run(const Setting& setting, ProcessGroup& group,
              int64_t steps = 3) const {
    Transformer trained = model(setting);
    Optimizer optimizer(setting.optimizer, trained.table().size());
    data::Loader windows = loader(setting);
    const TrainPlan train = plan(setting);
    const bool in_parts = setting.shard == Sharding::kFull && group.size() > 1;
    if (in_parts) hold_in_parts(trained, group);
    FrozenEntries frozen;
    if (train.freeze) frozen = {*train.freeze, trained.table(), nullptr};
    Trainer trainer(trained, optimizer, windows, train, 0.1, 7, group,
                    std::nullopt, setting.shard, {}, frozen);
    const RowOwners owners(trained.table(), group.size());
    Outcome outcome;
    for (int64_t step = 1; step <= steps; ++step) {
      const int64_t before = group.bytes_sent();
      outcome.records.push_back(line_of(trainer.step(step)));
      outcome.sent = group.bytes_sent() - before;
      EXPECT_EQ(windows.state().next_window,
                step * train.batch_size * train.gradient_accumulation_steps);
    }
    if (in_parts) trained.parts()->gather(trained);
    for (size_t row = 0; row < trained.table().size(); ++row) {
      const std::string& name = trained.table()[row].name;
      outcome.tensors.emplace_back(name, bytes_of(trained.weight(row)));
      const optim::TensorState& state = optimizer.states()[row];
      outcome.tensors.emplace_back("step." + name, std::to_string(state.step));
      const bool elsewhere =
          setting.shard != Sharding::kNone && !owners.owns(group.rank(), row);
      optim::visit_parts(state, [&](const char* part,
                                    const at::Tensor& tensor) {
        EXPECT_FALSE(elsewhere && tensor.defined()) << part << " of " << name;
        outcome.tensors.emplace_back(fmt::format("{}.{}", part, name),
                                     elsewhere ? kElsewhere : bytes_of(tensor));
      });
    }
    return outcome;
  }

  // Of every process.
  std::vector<Outcome> run_shared(const Setting& setting, int64_t processes,
                                  int64_t steps = 3) const {
    std::vector<Outcome> outcomes(processes);
    test::run_together(processes, [&](ProcessGroup& group) {
      outcomes[group.rank()] = run(setting, group, steps);
    });
    return outcomes;
  }

  // Whatever they hold in parts.
  void expect_same_for(const std::set<int64_t>& processes,
                       Setting setting) const {
    const Outcome alone = run(setting, parallel::solo());
    for (const int64_t n : processes) {
      for (const Sharding shard :
           {Sharding::kNone, Sharding::kOptimizer, Sharding::kFull}) {
        setting.shard = shard;
        const std::vector<Outcome> all = run_shared(setting, n);
        for (int64_t rank = 0; rank < n; ++rank) {
          EXPECT_EQ(all[rank].first_difference(alone), "")
              << "process " << rank << " of " << n << ", shard "
              << word_of(shard);
        }
      }
    }
  }

  // A token of the second process' first window that no window before has.
  int64_t token_of_one(const Setting& setting) const {
    data::Loader windows = loader(setting);
    std::set<int64_t> before;
    for (int64_t i = 0; i < setting.parts / 2; ++i) {
      const data::Batch window = windows.next(1);
      before.insert(window.tokens.begin(), window.tokens.end());
    }
    const data::Batch window = windows.next(1);
    const auto found = std::ranges::find_if(
        window.tokens, [&](int64_t id) { return !before.contains(id); });
    EXPECT_NE(found, window.tokens.end());
    return *found;
  }

  void expect_common_failure(const Setting& setting) const {
    const int64_t bad = token_of_one(setting);
    std::vector<std::string> texts(2);
    test::run_together(2, [&](ProcessGroup& group) {
      Transformer trained = model(setting);
      trained.weight(0)[bad].fill_(std::nan(""));
      if (setting.shard == Sharding::kFull) hold_in_parts(trained, group);
      Optimizer optimizer({}, trained.table().size());
      const auto own_weights = [&] {
        std::vector<std::string> bytes;
        for (size_t row = 0; row < trained.table().size(); ++row) {
          const WeightParts* parts = trained.parts();
          const bool here = parts == nullptr || parts->is_own(row);
          bytes.push_back(here ? bytes_of(trained.weight(row)) : kElsewhere);
        }
        return bytes;
      };
      const auto before = own_weights();
      data::Loader own = loader(setting);
      const TrainPlan train = plan(setting);
      Trainer trainer(trained, optimizer, own, train, 0.1, 7, group,
                      std::nullopt, setting.shard);
      const int64_t sent = group.bytes_sent();
      try {
        trainer.step(1);
      } catch (const VerdictError& error) {
        texts[group.rank()] = error.what();
      }
      if (setting.shard != Sharding::kFull) {
        EXPECT_LT(group.bytes_sent() - sent, 4096) << "gradients were sent";
      }
      EXPECT_TRUE(own_weights() == before);
    });
    EXPECT_THAT(texts[0],
                testing::HasSubstr("training step 1: the loss is nan"));
    EXPECT_EQ(texts[1], texts[0]);
  }

  void expect_foretold(Setting setting, int64_t processes) const {
    for (const Sharding shard :
         {Sharding::kNone, Sharding::kOptimizer, Sharding::kFull}) {
      setting.shard = shard;
      const std::vector<Outcome> all = run_shared(setting, processes, 1);
      int64_t most = 0;
      for (int64_t rank = 0; rank < processes; ++rank) {
        EXPECT_EQ(all[rank].sent,
                  step_bytes_sent_by(rank, config(setting),
                                     number_types(setting.precision),
                                     plan(setting), processes, shard))
            << rank << " of " << processes << ", " << word_of(shard);
        most = std::max(most, all[rank].sent);
      }
      EXPECT_EQ(most, step_bytes_sent(config(setting),
                                      number_types(setting.precision),
                                      plan(setting), processes, shard));
    }
  }

  std::optional<data::TokenFile> file_;
};

TEST_F(TrainerProcesses, GiveTheSameBits) {
  const auto losses = [](TrainPlan& train) {
    train.router_z_loss_coef = 0.01;
    train.router_mean_projection = true;
  };
  for (const bool mixture : {false, true}) {
    SCOPED_TRACE(mixture ? "mixture" : "dense");
    expect_same_for({1, 2, 4}, {.mixture = mixture, .change = losses});
  }
}

TEST_F(TrainerProcesses, GiveTheSameBitsWithEveryOptimizer) {
  const std::vector<OptimizerPlan> optimizers = {
      {.type = OptimizerType::kAdamw8bit},
      {.type = OptimizerType::kAdafactor},
      {.type = OptimizerType::kSgd, .momentum = 0.9},
      {.type = OptimizerType::kMuon},
  };
  for (const OptimizerPlan& optimizer : optimizers) {
    SCOPED_TRACE(static_cast<int>(optimizer.type));
    expect_same_for({2, 4}, {.optimizer = optimizer});
  }
}

TEST_F(TrainerProcesses, GiveTheSameBitsInEveryPrecision) {
  for (const Precision precision :
       {Precision::kBf16, Precision::kBf16Mixed, Precision::kFp64}) {
    SCOPED_TRACE(static_cast<int>(precision));
    expect_same_for({2, 4}, {.precision = precision});
  }
}

// They move by loads that no process has alone.
TEST_F(TrainerProcesses, GiveTheSameBitsWithSelectionBiases) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    SCOPED_TRACE(word_of(precision));
    const Setting setting = {
        .selection_bias = true,
        .precision = precision,
        .change = [](TrainPlan& train) { train.selection_bias_rate = 0.01; }};
    expect_same_for({1, 2, 4}, setting);
    Setting still = setting;
    still.change = [](TrainPlan&) {};
    EXPECT_NE(run(setting, parallel::solo())
                  .first_difference(run(still, parallel::solo())),
              "");
  }
}

TEST_F(TrainerProcesses, GiveTheSameBitsHoweverAStepIsTaken) {
  const std::vector<std::function<void(TrainPlan&)>> changes = {
      [](TrainPlan& train) { train.max_grad_norm = 0.1; },
      [](TrainPlan& train) { train.gradient_accumulation_steps = 3; },
      [](TrainPlan& train) { train.gradient_checkpointing = true; },
      [](TrainPlan& train) { train.router_aux_loss_coef = 0; },
      [](TrainPlan& train) {
        train.freeze =
            FreezePlan{.parts = {TensorPart::kEmbedding}, .layers = {0, 2}};
      },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    expect_same_for({2, 4}, {.change = changes[i]});
  }
}

TEST_F(TrainerProcesses, GiveTheSameBitsWithAnyNumberOfParts) {
  expect_same_for({2}, {.parts = 6});
  expect_same_for({2, 4, 8}, {.parts = 8});
}

// The first layer is also the last, or next to it.
TEST_F(TrainerProcesses, GiveTheSameBitsWithFewLayers) {
  for (const bool checkpointing : {false, true}) {
    for (const int64_t layers : {1, 2}) {
      const Setting setting = {.layers = layers,
                               .change = [=](TrainPlan& train) {
                                 train.gradient_checkpointing = checkpointing;
                               }};
      expect_same_for({2}, setting);
      expect_foretold({.length = 96, .layers = layers}, 2);
    }
  }
}

// Windows of two tokens: most experts are reached by some processes only, and
// some by none.
TEST_F(TrainerProcesses, ShareRowsThatOnlySomeReach) {
  const Setting setting = {.length = 2, .change = [](TrainPlan& train) {
                             train.router_aux_loss_coef = 0;
                           }};
  Transformer start = model(setting);
  data::Loader windows = loader(setting);
  std::set<int64_t> slots_of_one_expert;
  for (int window = 0; window < 4; ++window) {
    const data::Batch batch = windows.next(1);
    const Loss loss =
        start.loss(tokens_of(batch, at::kCPU), targets_of(batch, at::kCPU));
    slots_of_one_expert.insert(std::min<int64_t>(loss.load[0][0], 1));
  }
  EXPECT_EQ(slots_of_one_expert, (std::set<int64_t>{0, 1}));
  expect_same_for({2, 4}, setting);
}

// A token that only the pass of one process reads has an embedding that is not
// a number; with several passes to a process, in its first.
TEST_F(TrainerProcesses, FailTogetherWhereOneLossIsNotFinite) {
  for (const Sharding shard :
       {Sharding::kNone, Sharding::kOptimizer, Sharding::kFull}) {
    for (const int64_t parts : {2, 4}) {
      SCOPED_TRACE(fmt::format("{}, {} parts", word_of(shard), parts));
      expect_common_failure(
          {.mixture = false, .tied = false, .parts = parts, .shard = shard});
    }
  }
}

TEST_F(TrainerProcesses, SendWhatTheFormulaSays) {
  for (const bool mixture : {false, true}) {
    for (const bool projects : {false, true}) {
      Setting setting = {.mixture = mixture, .length = 96};
      setting.change = [=](TrainPlan& train) {
        train.router_mean_projection = projects;
      };
      for (const int64_t processes : {2, 4}) {
        expect_foretold(setting, processes);
      }
      EXPECT_EQ(run(setting, parallel::solo(), 1).sent, 0);
      EXPECT_EQ(step_bytes_sent(config(setting), at::kFloat, plan(setting), 1),
                0);
    }
  }
}

TEST_F(TrainerProcesses, StopAtTheHighestSignalOfAny) {
  const Setting setting = {.mixture = false};
  std::vector<int> signals(4);
  test::run_together(4, [&](ProcessGroup& group) {
    const Transformer of_one = model(setting);
    StepExchange exchange(group, of_one, false);
    StepSums sums;
    const int own = group.rank() == 2 ? 15 : group.rank() == 1 ? 10 : 0;
    signals[group.rank()] = exchange.sum(1, own, sums);
  });
  EXPECT_EQ(signals, (std::vector<int>{15, 15, 15, 15}));
}

// Any rows on any processes, in buckets that cut rows: each row is the tree
// over those that have it.
TEST_F(TrainerProcesses, SumEachRowOverThoseThatHaveIt) {
  constexpr int64_t kProcesses = 4;
  const Transformer shape = model({});
  const size_t rows = shape.table().size();
  std::vector<std::vector<bool>> present(kProcesses);
  const auto gradient = [&](int64_t rank, size_t row) {
    if (!present[rank][row]) return at::Tensor();
    const std::string name = fmt::format("{}/{}", rank, row);
    // Half of it is -0, which a zero that is added would change.
    return test::random_tensor(shape.weight(row).sizes(), name, at::kFloat)
        .clamp_min(0)
        .neg();
  };
  for (int64_t rank = 0; rank < kProcesses; ++rank) {
    for (size_t row = 0; row < rows; ++row) {
      present[rank].push_back(
          CounterRng(3, fmt::format("{}/{}", rank, row)).below(0, 2) == 0);
    }
  }
  std::vector<std::string> wanted;
  for (size_t row = 0; row < rows; ++row) {
    wanted.push_back(bytes_of(parallel::tree_sum(
        0, kProcesses, [&](int64_t rank) { return gradient(rank, row); },
        [](const at::Tensor& a, const at::Tensor& b) {
          if (!a.defined() || !b.defined()) return a.defined() ? a : b;
          return a + b;
        })));
  }
  EXPECT_NE(std::ranges::count(wanted, "none"), 0);
  for (const int64_t bucket_bytes : {1 << 20, 4000, 100}) {
    test::run_together(kProcesses, [&](ProcessGroup& group) {
      std::vector<at::Tensor> gradients;
      for (size_t row = 0; row < rows; ++row) {
        gradients.push_back(gradient(group.rank(), row));
      }
      sum_gradients(shape, present, gradients, group, bucket_bytes);
      for (size_t row = 0; row < rows; ++row) {
        EXPECT_TRUE(bytes_of(gradients[row]) == wanted[row])
            << shape.table()[row].name << " on " << group.rank() << ", "
            << bucket_bytes;
      }
    });
  }
}

}  // namespace
}  // namespace annuli::train
