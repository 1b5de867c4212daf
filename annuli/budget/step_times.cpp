#include "annuli/budget/step_times.h"

#include <algorithm>

#include "annuli/budget/stage_sending.h"
#include "annuli/model/tensor_table.h"
#include "annuli/train/step_share.h"

namespace annuli::budget {
namespace {

// One process: what computes, and what sends.
class Clock {
 public:
  explicit Clock(const Link& link) : link_(link) {}

  double now() const { return now_; }
  double sending() const { return sending_; }

  void compute(double seconds) { now_ += seconds; }
  // When it will have ended.
  double begin(const Flow& flow) {
    const double seconds = flow.seconds(link_);
    sending_ += seconds;
    free_ = std::max(now_, free_) + seconds;
    return free_;
  }
  void wait(double end) { now_ = std::max(now_, end); }
  void send(const Flow& flow) { wait(begin(flow)); }

 private:
  const Link& link_;
  double now_ = 0;
  double free_ = 0;  // when all that is begun has ended
  double sending_ = 0;
};

// Of one pass.
struct Shares {
  double layer = 0;  // its forward pass
  double layer_back = 0;
  double head = 0;
  double head_back = 0;
};

Shares shares_of(const ModelConfig& config, const TrainPlan& train,
                 double computing) {
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const double table =
      static_cast<double>(config.vocab_size * config.hidden_size);
  const double outside = table * (config.tie_word_embeddings ? 1 : 2);
  const double layer =
      (static_cast<double>(count_parameters(config).active) - outside) / layers;
  const double back = train.gradient_checkpointing ? 3 : 2;
  const double unit = computing / (layers * layer * (1 + back) + table * 3);
  return {.layer = unit * layer,
          .layer_back = unit * layer * back,
          .head = unit * table,
          .head_back = unit * table * 2};
}

class Step {
 public:
  Step(const StageSending& sending, const Link& link, const Shares& shares)
      : sending_(sending), clock_(link), shares_(shares) {}

  void pass(bool is_last) {
    forward();
    if (is_last) clock_.send(sending_.note());
    clock_.compute(shares_.head_back);
    for (size_t stage = head() - 1; stage > 0; --stage) {
      if (stage + 1 < head()) wait_for_weights();
      if (stage > 1) ask_for(stage - 1);
      if (is_last) begin_sums(stage + 1);
      clock_.compute(shares_.layer_back);
    }
  }

  void finish() {
    begin_sums(1);
    begin_sums(0);
    end_sums();
    if (sending_.in_parts()) clock_.send(sending_.squares());
    if (sending_.waits_for_norm()) give_all();
    clock_.wait(given_);
  }

  const Clock& clock() const { return clock_; }

 private:
  size_t head() const { return sending_.stages() - 1; }

  void forward() {
    ask_for(1);
    for (size_t stage = 1; stage < head(); ++stage) {
      wait_for_weights();
      if (stage + 1 < head()) ask_for(stage + 1);
      clock_.compute(shares_.layer);
    }
    clock_.compute(shares_.head);
  }

  void ask_for(size_t stage) {
    if (sending_.fetches()) ahead_ = clock_.begin(sending_.weights(stage));
  }
  void wait_for_weights() { clock_.wait(ahead_); }

  void begin_sums(size_t stage) {
    end_sums();
    going_ = static_cast<int64_t>(stage);
    sums_ = clock_.begin(sending_.gradients(stage));
  }
  void end_sums() {
    if (going_ < 0) return;
    clock_.wait(sums_);
    const auto stage = static_cast<size_t>(going_);
    if (!sending_.waits_for_norm() && sending_.gives(stage)) {
      given_ = clock_.begin(sending_.weights(stage));
    }
    going_ = -1;
  }
  void give_all() {
    if (!sending_.in_parts()) return;
    if (!sending_.fetches()) return clock_.send(sending_.all_weights());
    clock_.send(sending_.weights(0));
    clock_.send(sending_.weights(head()));
  }

  const StageSending& sending_;
  Clock clock_;
  Shares shares_;
  double ahead_ = 0;    // when the weights that are asked for are there
  int64_t going_ = -1;  // the stage whose sums are under way
  double sums_ = 0;     // when its sums are there
  double given_ = 0;    // when all that is given has come
};

}  // namespace

StepTimes step_times(const ModelConfig& config, const NumberTypes& numbers,
                     const TrainPlan& train, const Sharing& sharing,
                     Sharding shard, double computing) {
  if (sharing.processes == 1) {
    return {.computing = computing, .together = computing};
  }
  const StageSending sending(config, numbers, train, sharing.processes, shard);
  const int64_t passes = train::StepShare(train, 0, sharing.processes).passes();
  Step step(sending, sharing.link,
            shares_of(config, train, computing / static_cast<double>(passes)));
  for (int64_t i = 0; i < passes; ++i) step.pass(i + 1 == passes);
  step.finish();
  return {.computing = computing,
          .sending = step.clock().sending(),
          .together = step.clock().now()};
}

}  // namespace annuli::budget
