#include "annuli/tokenizer/sentencepiece_file.h"

#include <bit>
#include <cstring>
#include <optional>

#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli {
namespace {

// One field of a message, in the wire format of protocol buffers.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;      // of a number
  std::string_view bytes;  // of a text or a message
  bool has_bytes = false;
};

class Message {
 public:
  Message(std::string_view bytes, const std::string& source)
      : rest_(bytes), source_(source) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t tag = varint();
    Field field{.number = tag >> 3};
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        field.has_bytes = true;
        break;
      case 5:
        field.value = fixed(4);
        break;
      default:
        refuse();
    }
    if (field.number == 0) refuse();
    return field;
  }

  [[noreturn]] void refuse() const {
    user_error(
        "reading tokenizer {}: found no SentencePiece model, expected the "
        "tokenizer.model that its trainer wrote; is the file whole?",
        source_);
  }

 private:
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) refuse();
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    refuse();
  }

  uint64_t fixed(size_t size) {
    uint64_t value = 0;
    const std::string_view bytes = take(size);
    for (size_t i = size; i-- > 0;) {
      value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    }
    return value;
  }

  std::string_view rest_;
  const std::string& source_;
};

class ModelReader {
 public:
  explicit ModelReader(const std::string& source) { model_.source = source; }

  SentencePieceModel run(std::string_view bytes) {
    each(bytes, [&](const Field& field) {
      if (field.number == 1) read_piece(message(field));
      if (field.number == 2) read_trainer(message(field));
      if (field.number == 3) read_normalizer(message(field));
      if (field.number == 5) read_denormalizer(message(field));
    });
    return std::move(model_);
  }

 private:
  template <typename Read>
  void each(std::string_view bytes, Read read) {
    Message message(bytes, model_.source);
    while (const auto field = message.next()) read(*field);
  }

  std::string_view message(const Field& field) const {
    if (!field.has_bytes) Message("", model_.source).refuse();
    return field.bytes;
  }

  std::string text(const Field& field) const {
    return std::string(message(field));
  }

  template <typename Enum>
  Enum one_of(const Field& field, Enum last, const char* what) const {
    if (field.value < 1 || field.value > static_cast<uint64_t>(last)) {
      user_error("reading tokenizer {}: found {} {}, expected 1 to {}",
                 model_.source, what, field.value, static_cast<int>(last));
    }
    return static_cast<Enum>(field.value);
  }

  void read_piece(std::string_view bytes) {
    SentencePieceModel::Piece piece;
    each(bytes, [&](const Field& field) {
      if (field.number == 1) piece.text = text(field);
      if (field.number == 2) {
        piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
      }
      if (field.number == 3) {
        piece.type =
            one_of(field, SentencePieceModel::Type::kByte, "a piece of type");
      }
    });
    model_.pieces.push_back(std::move(piece));
  }

  void read_trainer(std::string_view bytes) {
    each(bytes, [&](const Field& field) {
      if (field.number == 3) {
        model_.kind = one_of(field, SentencePieceModel::Kind::kCharacter,
                             "a model of type");
      }
      if (field.number == 24) model_.whitespace_as_suffix = field.value != 0;
      if (field.number == 35) model_.byte_fallback = field.value != 0;
      if (field.number == 44) model_.unknown_surface = text(field);
      // An empty name stands for the default, as in the library.
      if (field.number == 46 && !text(field).empty()) {
        model_.begin_piece = text(field);
      }
      if (field.number == 47 && !text(field).empty()) {
        model_.end_piece = text(field);
      }
    });
  }

  void read_normalizer(std::string_view bytes) {
    each(bytes, [&](const Field& field) {
      if (field.number == 2) model_.charsmap = text(field);
      if (field.number == 3) model_.add_dummy_prefix = field.value != 0;
      if (field.number == 4) model_.remove_extra_whitespaces = field.value != 0;
      if (field.number == 5) model_.escape_whitespaces = field.value != 0;
    });
  }

  void read_denormalizer(std::string_view bytes) {
    each(bytes, [&](const Field& field) {
      if (field.number == 2) model_.denormalizer_charsmap = text(field);
    });
  }

  SentencePieceModel model_;
};

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view bytes,
                                       const std::string& source) {
  return ModelReader(source).run(bytes);
}

SentencePieceModel read_sentencepiece(const std::filesystem::path& path) {
  return parse_sentencepiece(read_file(path), path.string());
}

}  // namespace annuli
