#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

// What a SentencePiece `tokenizer.model` holds: a protocol buffer message of
// three parts, of which these fields decide ids and text. Read by a reader of
// our own: the library's keeps the normalizer to itself, follows damaged rules
// out of their array, and brings a second protobuf into the process.
namespace annuli {

// How pieces spell a space, where the model escapes spaces.
inline constexpr std::string_view kSentencePieceSpace = "\u2581";

struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kCharacter = 4 };
  enum class Type {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };

  std::string source;
  std::vector<Piece> pieces;  // by id

  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unknown_surface = " \u2047 ";
  std::string begin_piece = "<s>";
  std::string end_piece = "</s>";

  std::string charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  std::string denormalizer_charsmap;
};

// Refuses (UserError) what is no such message and values that no model has;
// whether the pieces make a vocabulary is SentencePieceTokenizer's to say.
// Fields that are unknown are passed over, as protocol buffers are read.
SentencePieceModel parse_sentencepiece(std::string_view bytes,
                                       const std::string& source);
SentencePieceModel read_sentencepiece(const std::filesystem::path& path);

// The message that is read so.
std::string sentencepiece_message(const SentencePieceModel& model);

}  // namespace annuli
