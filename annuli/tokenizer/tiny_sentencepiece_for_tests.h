#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "annuli/tokenizer/sentencepiece_file.h"

// Of what SentencePiece's trainer writes: fields, small models, compiled
// normalization rules.
namespace annuli {

inline std::string proto_varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(0x80 | (value & 0x7F));
  }
  return bytes + static_cast<char>(value);
}

inline std::string proto_number(int field, uint64_t value) {
  return proto_varint(field << 3) + proto_varint(value);
}

inline std::string little_endian_bytes(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// <unk>, <s>, </s>, then `pieces` with falling scores.
inline SentencePieceModel tiny_sentencepiece(
    SentencePieceModel::Kind kind, const std::vector<std::string>& pieces) {
  using Type = SentencePieceModel::Type;
  SentencePieceModel model;
  model.source = "tiny";
  model.kind = kind;
  model.pieces = {{"<unk>", 0, Type::kUnknown},
                  {"<s>", 0, Type::kControl},
                  {"</s>", 0, Type::kControl}};
  float score = 0;
  for (const std::string& piece : pieces) {
    model.pieces.push_back({piece, score -= 1, Type::kNormal});
  }
  return model;
}

// A double-array trie in which each node has 256 units to itself.
inline std::string compiled_rules(
    const std::map<std::string, std::string>& rules) {
  std::string replacements;
  std::vector<uint32_t> units(512);
  std::map<std::string, uint32_t> base = {{"", 256}};  // of a prefix
  units[0] = 256 << 10;
  for (const auto& [from, to] : rules) {
    for (size_t end = 1; end <= from.size(); ++end) {
      const std::string prefix = from.substr(0, end);
      if (base.contains(prefix)) continue;
      const auto byte = static_cast<unsigned char>(from[end - 1]);
      const auto own = static_cast<uint32_t>(units.size());
      const uint32_t at = base.at(from.substr(0, end - 1)) ^ byte;
      base[prefix] = own;
      units.resize(units.size() + 256);
      units[at] = byte | (at ^ own) << 10;
      if (end < from.size()) continue;
      units[at] |= 1u << 8;
      units[own] = static_cast<uint32_t>(replacements.size()) | uint32_t{1}
                                                                    << 31;
      replacements += to + '\0';
    }
  }
  std::string blob = little_endian_bytes(4 * units.size());
  for (uint32_t unit : units) blob += little_endian_bytes(unit);
  return blob + replacements;
}

}  // namespace annuli
