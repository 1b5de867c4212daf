#include "annuli/core/error.h"
#include "annuli/tokenizer/normalizer_steps.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

std::optional<NormalForm> form_of(const std::string& type) {
  for (const NormalForm form : {NormalForm::kNfc, NormalForm::kNfd,
                                NormalForm::kNfkc, NormalForm::kNfkd}) {
    if (type == name_of(form)) return form;
  }
  return std::nullopt;
}

NormalizerStepPointer replace_of(const FieldReader& fields, const Json& json) {
  const auto [pattern, literal] = fields.pattern(json, "Replace");
  const std::string content = fields.text(json, "content");
  try {
    return replace_step(pattern, literal, content);
  } catch (const UserError& error) {
    user_error("reading tokenizer {}: {}", fields.where(), error.what());
  }
}

NormalizerStepPointer precompiled_of(const FieldReader& fields,
                                     const Json& json) {
  const std::string rules = fields.text(json, "precompiled_charsmap");
  try {
    return precompiled_step(rules);
  } catch (const UserError& error) {
    user_error("reading tokenizer {}: {}", fields.where(), error.what());
  }
}

NormalizerStepPointer step_of(const FieldReader& fields, const Json& json,
                              const std::string& type) {
  if (const auto form = form_of(type)) return normal_form_step(*form);
  if (type == "Prepend") return prepend_step(fields.text(json, "prepend"));
  if (type == "Replace") return replace_of(fields, json);
  if (type == "Precompiled") return precompiled_of(fields, json);
  if (type == "Lowercase") return lowercase_step();
  if (type == "StripAccents") return strip_accents_step();
  if (type == "Strip") {
    return strip_step(fields.flag(json, "strip_left", true),
                      fields.flag(json, "strip_right", true));
  }
  fields.refuse("normalizer " + type,
                "none, Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, "
                "Strip, Lowercase, StripAccents or Precompiled");
}

}  // namespace

void read_normalizer(const FieldReader& fields, const Json& json,
                     Normalizer& normalizer) {
  if (json.is_null()) return;
  const std::string type = fields.type_of(json, "normalizer");
  if (type != "Sequence") return normalizer.add(step_of(fields, json, type));
  for (const Json& member : fields.list(json, "normalizers")) {
    read_normalizer(fields, member, normalizer);
  }
}

}  // namespace annuli
