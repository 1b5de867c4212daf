#include "annuli/train/step_note.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

namespace annuli::train {
namespace {

StepNote note_of(int64_t layers, int64_t experts, int64_t rows) {
  StepNote note{.step = 12, .stop_signal = 15};
  note.sums.loss = 0.1 + 0.2;
  note.sums.aux_loss = -0.0;
  note.sums.z_loss = std::numeric_limits<double>::denorm_min();
  for (int64_t layer = 0; layer < layers && experts > 0; ++layer) {
    auto& slots = note.sums.load.emplace_back();
    for (int64_t e = 0; e < experts; ++e) slots.push_back(100 * layer + e);
  }
  for (int64_t row = 0; row < rows; ++row) note.present.push_back(row % 3 == 1);
  return note;
}

TEST(StepNote, ComesBackWithItsBits) {
  for (const int64_t rows : {1, 63, 64, 65, 200}) {
    const StepNote note = note_of(3, 4, rows);
    const StepNote read = read_note(as_text(note));
    EXPECT_EQ(read.step, note.step);
    EXPECT_EQ(read.stop_signal, note.stop_signal);
    for (const auto value :
         {&StepSums::loss, &StepSums::aux_loss, &StepSums::z_loss}) {
      EXPECT_EQ(std::bit_cast<int64_t>(read.sums.*value),
                std::bit_cast<int64_t>(note.sums.*value));
    }
    EXPECT_EQ(read.sums.load, note.sums.load);
    EXPECT_EQ(read.present, note.present);
    EXPECT_EQ(read.failure, "");
  }
  EXPECT_EQ(read_note(as_text({.failure = "the loss is nan"})).failure,
            "the loss is nan");
}

TEST(StepNote, HasTheLengthThatIsForetold) {
  for (const int64_t rows : {1, 64, 65}) {
    EXPECT_EQ(std::ssize(as_text(note_of(3, 4, rows))), note_bytes(rows, 3, 4));
    EXPECT_EQ(std::ssize(as_text(note_of(3, 0, rows))), note_bytes(rows, 3, 0));
  }
}

}  // namespace
}  // namespace annuli::train
