#include <bit>

#include "annuli/tokenizer/sentencepiece_file.h"

namespace annuli {
namespace {

// Fields in the wire format of protocol buffers.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(0x80 | (value & 0x7F));
  }
  return bytes + static_cast<char>(value);
}

std::string number_field(uint64_t field, uint64_t value) {
  return varint(field << 3) + varint(value);
}

std::string flag_field(uint64_t field, bool value) {
  return number_field(field, value ? 1 : 0);
}

std::string bytes_field(uint64_t field, const std::string& bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string float_field(uint64_t field, float value) {
  std::string bytes = varint(field << 3 | 5);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(bits >> (8 * i));
  return bytes;
}

std::string piece_message(const SentencePieceModel::Piece& piece) {
  return bytes_field(1, piece.text) + float_field(2, piece.score) +
         number_field(3, static_cast<uint64_t>(piece.type));
}

std::string trainer_message(const SentencePieceModel& model) {
  return number_field(3, static_cast<uint64_t>(model.kind)) +
         flag_field(24, model.whitespace_as_suffix) +
         flag_field(35, model.byte_fallback) +
         bytes_field(44, model.unknown_surface) +
         bytes_field(46, model.begin_piece) + bytes_field(47, model.end_piece);
}

std::string normalizer_message(const SentencePieceModel& model) {
  return bytes_field(2, model.charsmap) +
         flag_field(3, model.add_dummy_prefix) +
         flag_field(4, model.remove_extra_whitespaces) +
         flag_field(5, model.escape_whitespaces);
}

}  // namespace

std::string sentencepiece_message(const SentencePieceModel& model) {
  std::string bytes;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    bytes += bytes_field(1, piece_message(piece));
  }
  bytes += bytes_field(2, trainer_message(model));
  bytes += bytes_field(3, normalizer_message(model));
  if (!model.denormalizer_charsmap.empty()) {
    bytes += bytes_field(5, bytes_field(2, model.denormalizer_charsmap));
  }
  return bytes;
}

}  // namespace annuli
