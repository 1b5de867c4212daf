#pragma once

#include "annuli/core/json.h"
#include "annuli/tokenizer/json_fields.h"
#include "annuli/tokenizer/pipeline_tokenizer.h"

// The parts of a tokenizer.json, each read into its place of the definition.
// What is not known is refused by its name.
namespace annuli {

// Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Lowercase,
// StripAccents, Precompiled.
void read_normalizer(const FieldReader& fields, const Json& json,
                     Normalizer& normalizer);

// Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit,
// BertPreTokenizer, CharDelimiterSplit, Metaspace.
void read_pre_tokenizer(const FieldReader& fields, const Json& json,
                        PreTokenizer& pre_tokenizer);

// BPE, Unigram. Its vocabulary and the model itself; after the pre-tokenizer,
// which says whether words are bytes.
void read_model(const FieldReader& fields, const Json& json,
                TokenizerDefinition& definition);

// Sequence, ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip,
// BPEDecoder; after the pre-tokenizer.
void read_decoder(const FieldReader& fields, const Json& json,
                  TokenizerDefinition& definition);

// Sequence, TemplateProcessing, ByteLevel, RobertaProcessing, BertProcessing:
// what they put before and after one text.
void read_post_processor(const FieldReader& fields, const Json& json,
                         TokenizerDefinition& definition);

void read_added_tokens(const FieldReader& fields, const Json& json,
                       TokenizerDefinition& definition);

}  // namespace annuli
