#include "annuli/train/step_note.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

namespace annuli::train {
namespace {

StepNote note_of(int64_t layers, int64_t experts) {
  StepNote note{.step = 12, .stop_signal = 15};
  note.sums.loss = 0.1 + 0.2;
  note.sums.aux_loss = -0.0;
  note.sums.z_loss = std::numeric_limits<double>::denorm_min();
  for (int64_t layer = 0; layer < layers && experts > 0; ++layer) {
    auto& slots = note.sums.load.emplace_back();
    for (int64_t e = 0; e < experts; ++e) slots.push_back(100 * layer + e);
  }
  return note;
}

TEST(StepNote, ComesBackWithItsBits) {
  StepNote note = note_of(3, 4);
  note.sums.stream_squares = {0.1 + 0.2, 1e300, 7};
  const StepNote read = read_note(as_text(note));
  EXPECT_EQ(read.step, note.step);
  EXPECT_EQ(read.stop_signal, note.stop_signal);
  for (const auto value :
       {&StepSums::loss, &StepSums::aux_loss, &StepSums::z_loss}) {
    EXPECT_EQ(std::bit_cast<int64_t>(read.sums.*value),
              std::bit_cast<int64_t>(note.sums.*value));
  }
  EXPECT_EQ(read.sums.load, note.sums.load);
  EXPECT_EQ(read.sums.stream_squares, note.sums.stream_squares);
  EXPECT_EQ(read.failure, "");
  EXPECT_EQ(read_note(as_text({.failure = "the loss is nan"})).failure,
            "the loss is nan");
}

TEST(StepNote, HasTheLengthThatIsForetold) {
  EXPECT_EQ(std::ssize(as_text(note_of(3, 4))), note_bytes(3, 4));
  EXPECT_EQ(std::ssize(as_text(note_of(3, 0))), note_bytes(3, 0));
}

}  // namespace
}  // namespace annuli::train
