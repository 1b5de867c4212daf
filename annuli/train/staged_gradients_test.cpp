#include "annuli/train/staged_gradients.h"

#include <ATen/ops/full_like.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"
#include "tests/support/watched_group.h"

namespace annuli::train {
namespace {

using parallel::ProcessGroup;
using Events = std::vector<std::string>;

// What happens while the gradients of all rows come, one process' 1 and the
// other's 2, but for the last row, which one process alone has.
Events events_of(ProcessGroup& group, const Transformer& model,
                 const RowOwners* owners) {
  Events events;
  const auto note = [&](const std::string& event) {
    if (events.empty() || events.back() != event) events.push_back(event);
  };
  test::WatchedGroup watched(group, [&] { events.push_back("begin"); });
  const RowStages stages(model.table());
  std::vector<at::Tensor> sums(model.table().size());
  StagedGradients staged(model, owners, watched,
                         {.rest = [](size_t) { return at::Tensor(); },
                          .use =
                              [&](size_t row, at::Tensor sum) {
                                note(fmt::format("use {}", stages.stage(row)));
                                sums[row] = std::move(sum);
                              },
                          .used = [](const std::vector<size_t>&) {}});
  const size_t lonely = stages.rows(1).back();
  for (size_t stage = stages.size(); stage-- > 0;) {
    note(fmt::format("add {}", stage));
    for (const size_t row : stages.rows(stage)) {
      if (row == lonely && group.rank() == 1) continue;
      staged.add(row, at::full_like(model.weight(row), 1.0 + group.rank()));
    }
  }
  staged.finish();
  for (size_t row = 0; row < sums.size(); ++row) {
    const bool here = owners == nullptr || owners->owns(group.rank(), row);
    ANNULI_CHECK(sums[row].defined() == here, "row {} is here: {}", row, here);
    if (!here) continue;
    EXPECT_TRUE(sums[row].eq(row == lonely ? 1.0 : 3.0).all().item<bool>());
  }
  return events;
}

// While a stage's gradients come, the sums of the one above it are under way:
// nobody waits for them before the next stage comes.
TEST(StagedGradients, AreSummedWhileTheNextStageComes) {
  ModelConfig config = tiny::config({});
  config.num_hidden_layers = 2;
  const Events expected = {"add 3", "add 2", "begin", "add 1",
                           "use 3", "begin", "add 0", "use 2",
                           "begin", "use 1", "begin", "use 0"};
  for (const bool owned : {false, true}) {
    std::vector<Events> events(2);
    test::run_together(2, [&](ProcessGroup& group) {
      const Transformer model = tiny::model(config, at::kFloat);
      const RowOwners owners(model.table(), 2);
      events[group.rank()] = events_of(group, model, owned ? &owners : nullptr);
    });
    if (!owned) {
      EXPECT_EQ(events[0], expected);
      EXPECT_EQ(events[1], expected);
      continue;
    }
    // A process that owns nothing of a stage uses nothing of it.
    for (Events& of_one : events) {
      std::erase_if(of_one,
                    [](const std::string& e) { return e.starts_with("use"); });
      EXPECT_EQ(of_one, (Events{"add 3", "add 2", "begin", "add 1", "begin",
                                "add 0", "begin", "begin"}));
    }
  }
}

TEST(StagedGradients, ComeFromTheHeadDown) {
  test::run_together(2, [&](ProcessGroup& group) {
    const Transformer model = tiny::model(tiny::config({}), at::kFloat);
    StagedGradients staged(model, nullptr, group,
                           {.rest = [](size_t) { return at::Tensor(); },
                            .use = [](size_t, const at::Tensor&) {},
                            .used = [](const std::vector<size_t>&) {}});
    const RowStages stages(model.table());
    const size_t low = stages.rows(0).front();
    const size_t high = stages.rows(stages.size() - 1).front();
    staged.add(low, at::full_like(model.weight(low), 1));
    EXPECT_THROW(staged.add(high, at::full_like(model.weight(high), 1)),
                 CheckFailure);
  });
}

}  // namespace
}  // namespace annuli::train
