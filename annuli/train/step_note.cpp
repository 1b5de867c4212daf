#include "annuli/train/step_note.h"

#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

// Step, signal, three losses, layers, experts, layers whose stream was
// measured, and the failure's length.
constexpr int64_t kFixedWords = 9;

class Writer {
 public:
  void put(int64_t word) {
    text_.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  void put(double value) { put(std::bit_cast<int64_t>(value)); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  int64_t integer() {
    int64_t word = 0;
    ANNULI_CHECK(text_.size() >= sizeof(word), "a note ends too early");
    std::memcpy(&word, text_.data(), sizeof(word));
    text_.remove_prefix(sizeof(word));
    return word;
  }
  double number() { return std::bit_cast<double>(integer()); }
  std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
};

}  // namespace

std::string as_text(const StepNote& note) {
  Writer writer;
  writer.put(note.step);
  writer.put(note.stop_signal);
  writer.put(note.sums.loss);
  writer.put(note.sums.aux_loss);
  writer.put(note.sums.z_loss);
  const auto& load = note.sums.load;
  writer.put(std::ssize(load));
  writer.put(load.empty() ? int64_t{0} : std::ssize(load.front()));
  for (const std::vector<int64_t>& slots : load) {
    for (const int64_t of_expert : slots) writer.put(of_expert);
  }
  writer.put(std::ssize(note.sums.stream_squares));
  for (const double squares : note.sums.stream_squares) writer.put(squares);
  writer.put(std::ssize(note.failure));
  return writer.take() + note.failure;
}

StepNote read_note(std::string_view text) {
  Reader reader(text);
  StepNote note;
  note.step = reader.integer();
  note.stop_signal = reader.integer();
  note.sums.loss = reader.number();
  note.sums.aux_loss = reader.number();
  note.sums.z_loss = reader.number();
  const int64_t layers = reader.integer();
  const int64_t experts = reader.integer();
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::vector<int64_t>& slots = note.sums.load.emplace_back();
    for (int64_t e = 0; e < experts; ++e) slots.push_back(reader.integer());
  }
  const int64_t measured = reader.integer();
  for (int64_t layer = 0; layer < measured; ++layer) {
    note.sums.stream_squares.push_back(reader.number());
  }
  const int64_t length = reader.integer();
  ANNULI_CHECK(std::ssize(reader.rest()) == length,
               "{} bytes left of a note, {} told", reader.rest().size(),
               length);
  note.failure = reader.rest();
  return note;
}

int64_t note_bytes(int64_t layers, int64_t experts) {
  const int64_t slots = experts > 0 ? layers * experts : 0;
  return 8 * (kFixedWords + slots);
}

}  // namespace annuli::train
