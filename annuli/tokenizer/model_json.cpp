#include "annuli/core/error.h"
#include "annuli/tokenizer/bpe_model.h"
#include "annuli/tokenizer/tokenizer_parts.h"
#include "annuli/tokenizer/unigram.h"

namespace annuli {
namespace {

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

std::pair<std::string, double> piece_of(const FieldReader& fields,
                                        const Json& json) {
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() ||
      !json[1].is_number()) {
    fields.refuse("the Unigram piece " + json.dump(), "its text and its score");
  }
  return {json[0], json[1]};
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
