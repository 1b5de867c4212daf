// What is foretold of a step whose processes hold parts, against real steps:
// messages are counted, and memory is what the allocator saw.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "annuli/budget/sending.h"
#include "annuli/budget/stage_parts.h"
#include "annuli/budget/step_memory.h"
#include "annuli/data/test_files.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/model/weight_parts.h"
#include "annuli/train/trainer.h"
#include "tests/support/thread_group.h"

namespace annuli::budget {
namespace {

using parallel::ProcessGroup;

// What has come to one process, in order; of exchanges how much.
struct Record {
  std::deque<std::vector<std::string>> texts;
  std::deque<at::Tensor> tensors;
  std::deque<std::vector<int64_t>> lengths;
  int64_t messages = 0;
};

// One of a real group, which notes what comes and counts messages as
// parallel/c10d_group.cpp sends them: what the operation is, of exchanges how
// much goes, and what it is about.
class Noting final : public ProcessGroup {
 public:
  Noting(ProcessGroup& group, Record& record)
      : group_(group), record_(record) {}
  int64_t rank() const override { return group_.rank(); }
  int64_t size() const override { return group_.size(); }
  void work_at(std::string what) override { group_.work_at(std::move(what)); }
  void barrier() override { group_.barrier(); }
  std::vector<std::string> gather(std::string_view text) override {
    record_.messages += 2;
    return record_.texts.emplace_back(group_.gather(text));
  }
  at::Tensor all_gather(const at::Tensor& part) override {
    record_.messages += 2;
    return record_.tensors.emplace_back(group_.all_gather(part));
  }
  at::Tensor all_to_all(const at::Tensor& rows) override {
    record_.messages += 2;
    return record_.tensors.emplace_back(group_.all_to_all(rows));
  }
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override {
    record_.messages += 3;
    std::vector<at::Tensor> come = group_.exchange(to);
    std::vector<int64_t>& lengths = record_.lengths.emplace_back();
    for (const at::Tensor& piece : come) lengths.push_back(piece.numel());
    return come;
  }
  void say_failed(int status, std::string_view text) noexcept override {
    group_.say_failed(status, text);
  }
  int64_t bytes_sent() const override { return group_.bytes_sent(); }

 private:
  ProcessGroup& group_;
  Record& record_;
};

// The same process alone: what has come comes again, weights and gradients as
// zeros, in the memory that parallel/c10d_group.cpp takes. What is begun is
// done at once, but is as if it were still under way until something else is
// called or begun: what its largest operation takes is held so long.
class Again final : public ProcessGroup {
 public:
  Again(int64_t rank, int64_t size, Record record)
      : rank_(rank), size_(size), record_(std::move(record)) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  void work_at(std::string /*what*/) override {}
  void barrier() override { held_.reset(); }
  std::vector<std::string> gather(std::string_view /*text*/) override {
    held_.reset();
    return taken(record_.texts);
  }
  at::Tensor all_gather(const at::Tensor& /*part*/) override {
    held_.reset();
    return taken(record_.tensors);
  }
  at::Tensor all_to_all(const at::Tensor& /*rows*/) override {
    held_.reset();
    return taken(record_.tensors);
  }
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override {
    held_.reset();
    std::vector<int64_t> lengths = taken(record_.lengths);
    lengths[rank_] = 0;
    std::vector<at::Tensor> others = to;
    others[rank_] = at::empty({0}, to[0].options());
    const at::Tensor sent =
        size_ == 2 ? at::empty({0}, to[0].options()) : at::cat(others);
    const at::Tensor all =
        at::zeros({std::accumulate(lengths.begin(), lengths.end(), int64_t{0})},
                  to[0].options());
    largest_ = std::max(largest_, sent.nbytes() + all.nbytes() + packed(to));
    std::vector<at::Tensor> come;
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      come.push_back(all.narrow(0, begin, length));
      begin += length;
    }
    return come;
  }
  parallel::Begun begin(parallel::Operations operations) override {
    held_.reset();
    largest_ = 0;
    parallel::Begun begun = begin_now(*this, std::move(operations));
    held_ = at::empty({static_cast<int64_t>(largest_)}, at::kByte);
    return begun;
  }
  void say_failed(int /*status*/, std::string_view /*text*/) noexcept override {
  }
  int64_t bytes_sent() const override { return 0; }

 private:
  // The same for all, or for each its own.
  static size_t packed(const std::vector<at::Tensor>& to) {
    if (to.front().is_same(to.back())) return to.front().nbytes();
    size_t bytes = 0;
    for (const at::Tensor& one : to) bytes += one.nbytes();
    return bytes;
  }

  template <typename T>
  static T taken(std::deque<T>& all) {
    T first = std::move(all.front());
    all.pop_front();
    return first;
  }

  int64_t rank_;
  int64_t size_;
  Record record_;
  size_t largest_ = 0;  // of the operations of what was begun last
  at::Tensor held_;
};

// Of so few tokens activations are malloc's, and gradients and weights outweigh
// the rest.
constexpr int64_t kFew = 64;

struct Case {
  Sharding shard = Sharding::kOptimizer;
  bool mixture = false;
  bool tied = true;
  bool checkpointing = false;
  bool clipped = false;
  int64_t tokens = 1024;
  int64_t passes = 1;
  int64_t processes = 2;
  Precision precision = Precision::kFp32;
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return fmt::format(
      "{}_{}_{}{}{}_{}tokens_{}passes_{}processes_{}", word_of(c.shard),
      c.mixture ? "mixture" : "dense", c.tied ? "tied" : "untied",
      c.checkpointing ? "_checkpointing" : "", c.clipped ? "_clipped" : "",
      c.tokens, c.passes, c.processes, static_cast<int>(c.precision));
}

// Each matrix has 1 MiB or more: what is smaller is malloc's.
ModelConfig config_of(const Case& c) {
  ModelPlan model;
  model.hidden_size = 512;
  model.intermediate_size = 2048;
  model.num_hidden_layers = 4;
  model.num_attention_heads = 8;
  model.gated = false;
  model.tie_word_embeddings = c.tied;
  ModelConfig config = model_config(model, 6144);
  if (c.mixture) {
    config.num_experts = 4;
    config.num_experts_per_tok = 2;
    config.norm_topk_prob = true;
  }
  return config;
}

TrainPlan train_of(const Case& c) {
  TrainPlan train;
  train.micro_batch_size = 1;
  train.batch_size = c.processes;
  train.gradient_accumulation_steps = c.passes;
  train.gradient_checkpointing = c.checkpointing;
  train.max_grad_norm = c.clipped ? 1 : 0;
  train.router_mean_projection = c.mixture;
  return train;
}

class SharedStep : public data::DataTest,
                   public testing::WithParamInterface<Case> {
 protected:
  // Two steps, as the first makes the state. `before`: called between them.
  void steps(ProcessGroup& group, const std::function<void()>& before) const {
    const Case& c = GetParam();
    const data::TokenFile file(folder_ / "test.tokens");
    data::Loader loader(file, {{0, 40 * c.tokens}}, c.tokens, 1, "t");
    Transformer model(config_of(c), number_types(c.precision));
    initialize(model, 1);
    if (c.shard == Sharding::kFull) hold_in_parts(model, group);
    train::Optimizer optimizer({}, model.table().size());
    const TrainPlan train = train_of(c);
    train::Trainer trainer(model, optimizer, loader, train, 0.1, 7, group,
                           std::nullopt, c.shard);
    trainer.step(1);
    before();
    trainer.step(2);
  }

  std::vector<Record> records() const {
    std::vector<Record> all(GetParam().processes);
    test::run_together(GetParam().processes, [&](ProcessGroup& group) {
      Record& record = all[group.rank()];
      Noting noting(group, record);
      steps(noting, [&] { record.messages = 0; });
    });
    return all;
  }

  StepMemory counted() const {
    const Case& c = GetParam();
    return step_memory({.config = config_of(c),
                        .numbers = number_types(c.precision),
                        .batch_size = 1,
                        .sequence_length = c.tokens,
                        .gradient_checkpointing = c.checkpointing,
                        .holds_gradient = true,
                        .passes = c.passes,
                        .processes = c.processes,
                        .shard = c.shard,
                        .sums_wait = c.clipped});
  }

  // Of the weights that one process has between two steps: its own and, where
  // they are held in parts, those outside the layers.
  int64_t entries_here(const RowOwners& owners, const TensorTable& table,
                       int64_t rank) const {
    int64_t entries = owners.entries_of(rank);
    for (size_t row = 0; row < table.size(); ++row) {
      const bool outside = table[row].layer < 0 && !owners.owns(rank, row);
      if (outside && GetParam().shard == Sharding::kFull) {
        entries += table[row].numel();
      }
    }
    return entries;
  }

  void SetUp() override {
    DataTest::SetUp();
    write_random(40 * GetParam().tokens, 6144);
  }
};

// 6 %, as in step_memory_test.cpp. With weights in parts, own ones are counted
// with what is fetched: one process has more of these, another of those.
TEST_P(SharedStep, HoldsAndSendsWhatIsForetold) {
  const Case& c = GetParam();
  kernels::use_caching_allocator();
  const ModelConfig config = config_of(c);
  const NumberTypes numbers = number_types(c.precision);
  std::vector<Record> all = records();
  const Sending sending =
      sending_of_step(config, numbers, train_of(c), c.processes, c.shard);
  EXPECT_EQ(all[0].messages * (c.processes - 1), sending.rounds);

  const RowOwners owners(tensor_table(config), c.processes);
  int64_t most = 0;
  for (int64_t rank = 0; rank < c.processes; ++rank) {
    Again again(rank, c.processes, std::move(all[rank]));
    int64_t before = 0;
    steps(again, [&] {
      again.barrier();
      kernels::release_cached_blocks();
      before = kernels::cached_blocks().live;
    });
    const int64_t here =
        entries_here(owners, tensor_table(config), rank) *
        static_cast<int64_t>(c10::elementSize(numbers.weights));
    most = std::max(most, here + kernels::cached_blocks().peak - before);
  }
  StepMemory step = counted();
  if (c.tokens == kFew) step.activations = 0;
  const int64_t found =
      StageParts(config, numbers, c.processes).own_weights() + step.total();
  EXPECT_NEAR(static_cast<double>(found) / static_cast<double>(most), 1, 0.06)
      << fmt::format("counted {:.1f} MiB, measured {:.1f} MiB",
                     static_cast<double>(found) / 1048576,
                     static_cast<double>(most) / 1048576);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Sharding shard : {Sharding::kOptimizer, Sharding::kFull}) {
    all.push_back({.shard = shard, .mixture = true, .tokens = kFew});
    all.push_back({.shard = shard, .clipped = true, .tokens = kFew});
    all.push_back({.shard = shard, .tied = false, .tokens = kFew});
    all.push_back({.shard = shard, .tied = false, .tokens = kFew, .passes = 2});
    all.push_back({.shard = shard, .tokens = kFew, .processes = 4});
  }
  all.push_back(
      {.shard = Sharding::kFull, .checkpointing = true, .tokens = 512});
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, SharedStep, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace annuli::budget
