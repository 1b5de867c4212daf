#include "annuli/core/error.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

class DecoderReader {
 public:
  DecoderReader(const FieldReader& fields, TokenizerDefinition& definition)
      : fields_(fields), to_(definition) {}

  void read(const Json& json) {
    const std::string type = fields_.type_of(json, "decoder");
    if (type == "Sequence") {
      for (const Json& member : fields_.list(json, "decoders")) read(member);
    } else if (to_.pre_tokenizer.byte_level()) {
      if (type != "ByteLevel" && type != "Fuse") {
        fields_.refuse("decoder " + type + " with pre_tokenizer ByteLevel",
                       "ByteLevel");
      }
    } else if (type == "Fuse") {
      fused_ = true;
    } else {
      to_.decoder.add(step_of(json, type));
    }
  }

 private:
  DecoderStepPointer step_of(const Json& json, const std::string& type) {
    if (type == "Strip") return strip_of(json);
    if (fused_)
      fields_.refuse("decoder " + type + " after Fuse or ByteLevel", "Strip");
    if (type == "ByteLevel") {
      fused_ = true;
      return byte_level_decoder();
    }
    if (type == "ByteFallback") return byte_fallback_decoder();
    if (type == "Replace") return replace_of(json);
    if (type == "Metaspace") {
      const bool prefix = fields_.flag(json, "add_prefix_space", true);
      const std::string scheme =
          fields_.text(json, "prepend_scheme", prefix ? "always" : "never");
      return metaspace_decoder(
          fields_.character(json, "replacement", "\xE2\x96\x81"),
          scheme != "never");
    }
    if (type == "BPEDecoder") {
      const std::string suffix = fields_.text(json, "suffix", "</w>");
      if (suffix.empty()) fields_.refuse("an empty suffix", "one");
      return suffix_decoder(suffix);
    }
    fields_.refuse("decoder " + type,
                   "Sequence, ByteLevel, Metaspace, Replace, ByteFallback, "
                   "Fuse, Strip or BPEDecoder");
  }

  DecoderStepPointer strip_of(const Json& json) const {
    return strip_decoder(fields_.character(json, "content", " "),
                         fields_.count(json, "start", 0),
                         fields_.count(json, "stop", 0), fused_);
  }

  DecoderStepPointer replace_of(const Json& json) const {
    const auto [pattern, literal] = fields_.pattern(json, "Replace");
    try {
      return replace_decoder(pattern, literal, fields_.text(json, "content"));
    } catch (const UserError& error) {
      user_error("reading tokenizer {}: {}", fields_.where(), error.what());
    }
  }

  const FieldReader& fields_;
  TokenizerDefinition& to_;
  bool fused_ = false;
};

}  // namespace

void read_decoder(const FieldReader& fields, const Json& json,
                  TokenizerDefinition& definition) {
  if (!json.is_null()) return DecoderReader(fields, definition).read(json);
  if (!definition.pre_tokenizer.byte_level()) {
    definition.decoder.add(spaced_decoder());
  }
}

}  // namespace annuli
