#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "annuli/tokenizer/nfc.h"
#include "annuli/tokenizer/normalizer.h"

// The steps that a Normalizer is made from, by the names they have in
// tokenizer.json.
namespace annuli {

using NormalizerStepPointer = std::unique_ptr<const NormalizerStep>;

// NFC, NFD, NFKC, NFKD.
NormalizerStepPointer normal_form_step(NormalForm form);

// Prepend: `mark` before every text that is not empty.
NormalizerStepPointer prepend_step(std::string mark);

// Replace: every match of `pattern` (Oniguruma's syntax, or with `literal` the
// text itself) becomes `content`. Refuses (UserError) what SplitPattern does.
NormalizerStepPointer replace_step(std::string pattern, bool literal,
                                   std::string content);

// Strip: White_Space at the two ends.
NormalizerStepPointer strip_step(bool left, bool right);

// Precompiled: SentencePiece's rules, of a blob in base64. Refuses what
// PrecompiledNormalizer does.
NormalizerStepPointer precompiled_step(std::string_view base64);

NormalizerStepPointer lowercase_step();

// StripAccents: without the nonspacing marks (Mn).
NormalizerStepPointer strip_accents_step();

}  // namespace annuli
