#include "annuli/train/evaluate.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/model/weight_parts.h"
#include "annuli/train/batch_tensors.h"
#include "tests/support/pass_count.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using EvaluateTest = data::DataTest;

double loss_of(const Transformer& model, const data::Batch& windows) {
  return model.loss(tokens_of(windows, at::kCPU), targets_of(windows, at::kCPU))
      .cross_entropy.item<double>();
}

TEST_F(EvaluateTest, IsTheMeanOverTheWindows) {
  const data::TokenFile file(write_random(400, 61));
  const data::Loader loader(file, {{0, 400}}, 12, 1, "t");
  const data::Batch windows = loader.fixed_windows(5);
  const Transformer model = tiny::model(tiny::config(), at::kDouble);
  double sum = 0;
  for (int64_t i = 0; i < 5; ++i) sum += loss_of(model, windows.rows(i, 1));
  EXPECT_EQ(evaluate(model, windows), sum / 5);
  EXPECT_NE(loss_of(model, windows.rows(0, 1)),
            loss_of(model, windows.rows(4, 1)));
  // One batch of all of them is the same mean, summed in another order.
  EXPECT_NEAR(evaluate(model, windows), loss_of(model, windows), 1e-13);
  EXPECT_THROW(evaluate(model, data::Batch()), CheckFailure);
}

// 40 windows' tokens of four documents. Each document by itself has the same
// sum of losses: seven chained products a block and the head, each of them off
// by sqrt(width) roundings, as in decoder_test.cpp.
TEST_F(EvaluateTest, DocumentsAreReadApart) {
  const ModelConfig config = tiny::config();
  std::vector<std::vector<int32_t>> ids(4);
  const CounterRng rng(3, "documents");
  uint64_t drawn = 0;
  for (size_t i = 0; i < 4; ++i) {
    for (size_t n = 0; n < 7 + 9 * i; ++n) {
      ids[i].push_back(static_cast<int32_t>(rng.below(drawn++, 61)));
    }
  }
  const data::TokenFile file(write_tokens(ids, 61));
  const int64_t T = file.token_count() - 1;
  const data::Loader loader({{data::LaidOutText(file, {{0, T + 1}})}},
                            {.length = T, .documents = true}, 1, "t");
  const data::Batch window = loader.fixed_windows(1);
  const Transformer model = tiny::model(config, at::kDouble);
  const at::Tensor tokens = tokens_of(window, at::kCPU);
  const at::Tensor targets = targets_of(window, at::kCPU);
  double sum = 0;
  for (int64_t begin = 0; begin < T;) {
    const auto document = file.document(file.document_of(begin));
    const int64_t count = std::min(document.end, T) - begin;
    sum +=
        static_cast<double>(count) * model
                                         .loss(tokens.narrow(1, begin, count),
                                               targets.narrow(1, begin, count))
                                         .cross_entropy.item<double>();
    begin += count;
  }
  const double apart = sum / static_cast<double>(T);
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const auto width = static_cast<double>(config.intermediate_size);
  EXPECT_NEAR(evaluate(model, window) / apart, 1,
              4 * (6 * layers + 1) * std::sqrt(width) * 0x1p-53);
  // The control: without the borders the loss is another.
  data::Batch whole = window;
  whole.documents.clear();
  EXPECT_GT(std::abs(evaluate(model, whole) / apart - 1), 1e-4);
}

// Five windows are no multiple of the processes: those with fewer pass one
// token more where the weights are held in parts.
TEST_F(EvaluateTest, ProcessesDivideTheWindowsAndGetTheMeanOfOne) {
  const data::TokenFile file(write_random(400, 61));
  const data::Batch windows =
      data::Loader(file, {{0, 400}}, 12, 1, "t").fixed_windows(5);
  const Transformer model =
      tiny::model(tiny::config({.mixture = true}), at::kFloat);
  double alone = 0;
  test::run_together(1, [&](parallel::ProcessGroup& group) {
    alone = evaluate(model, windows, group);
  });
  for (const int64_t processes : {2, 4}) {
    for (const bool in_parts : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", processes, in_parts));
      std::vector<int64_t> passes(processes);
      test::run_together(processes, [&](parallel::ProcessGroup& group) {
        Transformer own = tiny::clone(model);
        if (in_parts) hold_in_parts(own, group);
        const test::PassCount count;
        EXPECT_EQ(evaluate(own, windows, group), alone);
        passes[group.rank()] = count.passes();
      });
      const int64_t most = (5 + processes - 1) / processes;
      EXPECT_EQ(std::ranges::max(passes), most);
      EXPECT_EQ(std::accumulate(passes.begin(), passes.end(), int64_t{0}),
                in_parts ? most * processes : 5);
    }
  }
}

}  // namespace
}  // namespace annuli::train
