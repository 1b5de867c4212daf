#include "annuli/train/step_note.h"

#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

// Step, signal, three losses, layers, experts, rows, and the failure's length.
constexpr int64_t kFixedWords = 9;
constexpr int64_t kWordBits = 64;

int64_t words_of(int64_t bits) { return (bits + kWordBits - 1) / kWordBits; }

class Writer {
 public:
  void put(int64_t word) {
    text_.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  void put(double value) { put(std::bit_cast<int64_t>(value)); }
  void put(const std::vector<bool>& bits) {
    put(std::ssize(bits));
    for (size_t first = 0; first < bits.size(); first += kWordBits) {
      uint64_t word = 0;
      for (size_t i = first; i < bits.size() && i < first + kWordBits; ++i) {
        word |= static_cast<uint64_t>(bits[i]) << (i - first);
      }
      put(static_cast<int64_t>(word));
    }
  }
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
  std::vector<bool> bits() {
    const int64_t count = integer();
    std::vector<bool> found;
    uint64_t word = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (i % kWordBits == 0) word = static_cast<uint64_t>(integer());
      found.push_back(((word >> (i % kWordBits)) & 1) != 0);
    }
    return found;
  }
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
  writer.put(note.present);
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
  note.present = reader.bits();
  const int64_t length = reader.integer();
  ANNULI_CHECK(std::ssize(reader.rest()) == length,
               "{} bytes left of a note, {} told", reader.rest().size(),
               length);
  note.failure = reader.rest();
  return note;
}

int64_t note_bytes(int64_t rows, int64_t layers, int64_t experts) {
  const int64_t slots = experts > 0 ? layers * experts : 0;
  return 8 * (kFixedWords + slots + words_of(rows));
}

}  // namespace annuli::train
