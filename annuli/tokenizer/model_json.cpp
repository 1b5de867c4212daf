#include <array>
#include <charconv>
#include <cstdlib>

#include "annuli/core/error.h"
#include "annuli/tokenizer/bpe_model.h"
#include "annuli/tokenizer/tokenizer_parts.h"
#include "annuli/tokenizer/unigram.h"

namespace annuli {
namespace {

constexpr int kLargestPower = 300;

std::pair<std::string, std::string> merge_of(const Json& json,
                                             const std::string& place) {
  if (json.is_string()) {
    return merge_of_line(json.get_ref<const std::string&>(), place);
  }
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() ||
      !json[1].is_string()) {
    user_error("reading {}: found {}, expected two tokens", place, json.dump());
  }
  return {json[0], json[1]};
}

BpeDefinition bpe_of(const FieldReader& fields, const Json& json) {
  const Json& dropout = FieldReader::field(json, "dropout");
  if (!dropout.is_null() && dropout != 0.0) {
    fields.refuse("dropout " + dropout.dump(), "none");
  }
  BpeDefinition bpe;
  bpe.ignore_merges = fields.flag(json, "ignore_merges", false);
  bpe.byte_fallback = fields.flag(json, "byte_fallback", false);
  bpe.fuse_unk = fields.flag(json, "fuse_unk", false);
  if (!FieldReader::field(json, "unk_token").is_null()) {
    bpe.unk_token = fields.text(json, "unk_token");
  }
  bpe.continuing_subword_prefix =
      fields.text(json, "continuing_subword_prefix");
  bpe.end_of_word_suffix = fields.text(json, "end_of_word_suffix");
  const Json& merges = fields.list(json, "merges");
  bpe.merges.reserve(merges.size());
  for (const Json& merge : merges) {
    bpe.merges.push_back(
        merge_of(merge, fmt::format("{}, model.merges[{}]", fields.where(),
                                    bpe.merges.size())));
  }
  return bpe;
}

void read_bpe(const FieldReader& fields, const Json& json,
              TokenizerDefinition& definition) {
  definition.vocabulary = vocabulary_of(FieldReader::field(json, "vocab"),
                                        fields.where() + ", model.vocab");
  BpeDefinition bpe = bpe_of(fields, json);
  bpe.byte_level = definition.pre_tokenizer.byte_level();
  definition.model = std::make_unique<BpeModel>(
      definition.source, definition.vocabulary, std::move(bpe));
}

// `tokenizers` reads a number as its digits over a power of ten, each rounded
// on its own: a quarter of all scores differ in their last bit from the nearest
// number, which decides ties.
double as_python_reads(double score) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), score,
                                 std::chars_format::scientific);
  const std::string_view shortest(text.data(), end.ptr - text.data());
  const size_t e = shortest.find('e');
  int exponent = 0;
  if (e == shortest.npos) return score;
  std::from_chars(shortest.data() + e + (shortest[e + 1] == '+' ? 2 : 1),
                  end.ptr, exponent);
  uint64_t digits = 0;
  for (size_t i = 0; i < e; ++i) {
    if (shortest[i] < '0' || shortest[i] > '9') continue;
    digits = 10 * digits + static_cast<uint64_t>(shortest[i] - '0');
    if (shortest.substr(0, i).find('.') != shortest.npos) --exponent;
  }
  if (std::abs(exponent) > kLargestPower) return score;
  const double power =
      std::strtod(fmt::format("1e{}", std::abs(exponent)).c_str(), nullptr);
  const auto whole = static_cast<double>(digits);
  const double value = exponent < 0 ? whole / power : whole * power;
  return score < 0 ? -value : value;
}

std::pair<std::string, double> piece_of(const FieldReader& fields,
                                        const Json& json) {
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() ||
      !json[1].is_number()) {
    fields.refuse("the Unigram piece " + json.dump(), "its text and its score");
  }
  return {json[0], as_python_reads(json[1].get<double>())};
}

void read_unigram(const FieldReader& fields, const Json& json,
                  TokenizerDefinition& definition) {
  if (definition.pre_tokenizer.byte_level()) {
    fields.refuse("a Unigram model with pre_tokenizer ByteLevel", "Metaspace");
  }
  UnigramDefinition unigram;
  unigram.source = definition.source;
  unigram.byte_fallback = fields.flag(json, "byte_fallback", false);
  for (const Json& piece : fields.list(json, "vocab")) {
    const auto id = static_cast<int32_t>(unigram.pieces.size());
    unigram.pieces.push_back(piece_of(fields, piece));
    definition.vocabulary.emplace_back(unigram.pieces.back().first, id);
  }
  const Json& unknown = FieldReader::field(json, "unk_id");
  if (!unknown.is_null()) {
    unigram.unknown_id = id_of(unknown, "unk_id", fields.where());
  }
  definition.model = std::make_unique<UnigramModel>(std::move(unigram));
}

}  // namespace

void read_model(const FieldReader& fields, const Json& json,
                TokenizerDefinition& definition) {
  if (!json.is_object()) fields.refuse("no model", "a BPE or a Unigram model");
  const Json& type = FieldReader::field(json, "type");
  if (type.is_null() || type == "BPE") {
    return read_bpe(fields, json, definition);
  }
  if (type == "Unigram") return read_unigram(fields, json, definition);
  fields.refuse("model " + type.dump(), "BPE or Unigram");
}

}  // namespace annuli
