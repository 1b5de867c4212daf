#include "annuli/core/error.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

using Ids = std::vector<int32_t>;

class PostProcessorReader {
 public:
  PostProcessorReader(const FieldReader& fields, TokenizerDefinition& to)
      : fields_(fields), to_(to) {}

  void read(const Json& json) {
    if (json.is_null()) return;
    const std::string type = fields_.type_of(json, "post_processor");
    if (type == "Sequence") {
      for (const Json& member : fields_.list(json, "processors")) read(member);
    } else if (type == "TemplateProcessing") {
      read_template(json);
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      wrap({pair_id(json, "cls")}, {pair_id(json, "sep")});
    } else if (type != "ByteLevel") {
      fields_.refuse("post_processor " + type,
                     "Sequence, TemplateProcessing, ByteLevel, "
                     "RobertaProcessing or BertProcessing");
    }
  }

 private:
  // Each processor works on what the one before it made.
  void wrap(const Ids& begin, const Ids& end) {
    to_.begin_ids.insert(to_.begin_ids.begin(), begin.begin(), begin.end());
    to_.end_ids.insert(to_.end_ids.end(), end.begin(), end.end());
  }

  // ["</s>", 2]
  int32_t pair_id(const Json& json, const char* name) const {
    const Json& pair = FieldReader::field(json, name);
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string()) {
      fields_.refuse(fmt::format("{} = {}", name, pair.dump()),
                     "[\"token\", id]");
    }
    return id_of(pair[1], pair[0].get<std::string>(), fields_.where());
  }

  void read_template(const Json& json) {
    Ids begin;
    Ids end;
    int texts = 0;
    for (const Json& piece : fields_.list(json, "single")) {
      if (piece.is_object() && piece.contains("Sequence")) {
        ++texts;
      } else {
        append_special(json, piece, texts == 0 ? begin : end);
      }
    }
    if (texts != 1) {
      fields_.refuse(fmt::format("TemplateProcessing of {} texts", texts),
                     "one text in `single`");
    }
    wrap(begin, end);
  }

  void append_special(const Json& json, const Json& piece, Ids& ids) const {
    const Json& special =
        piece.is_object() ? FieldReader::field(piece, "SpecialToken") : piece;
    if (!special.is_object()) {
      fields_.refuse("a piece " + piece.dump(), "Sequence or SpecialToken");
    }
    const std::string name = fields_.text(special, "id");
    const Json& tokens = FieldReader::field(json, "special_tokens");
    if (!tokens.is_object() || !tokens.contains(name) ||
        !tokens[name].is_object()) {
      fields_.refuse("no special token '" + name + "'",
                     "it among the template's special_tokens");
    }
    for (const Json& id : fields_.list(tokens[name], "ids")) {
      ids.push_back(id_of(id, name, fields_.where()));
    }
  }

  const FieldReader& fields_;
  TokenizerDefinition& to_;
};

}  // namespace

void read_post_processor(const FieldReader& fields, const Json& json,
                         TokenizerDefinition& definition) {
  PostProcessorReader(fields, definition).read(json);
}

}  // namespace annuli
