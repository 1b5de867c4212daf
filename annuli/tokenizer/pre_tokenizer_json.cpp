#include <array>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/tokenizer/split_syntax.h"
#include "annuli/tokenizer/tokenizer_parts.h"

namespace annuli {
namespace {

// As the package's own character tests have them: punctuation is Unicode's and
// all that ASCII prints and is neither letter nor digit.
constexpr const char* kPunctuation = R"([\p{P}$+<=>\^`|~])";
constexpr const char* kSpace = R"(\s)";
constexpr const char* kWordOrNeither =
    R"([\w\x{200c}\x{200d}]+|[^\w\x{200c}\x{200d}\s]+)";

class PreTokenizerReader {
 public:
  PreTokenizerReader(const FieldReader& fields, PreTokenizer& pre_tokenizer)
      : fields_(fields), to_(pre_tokenizer) {}

  void read(const Json& json) {
    if (json.is_null()) return;
    const std::string type = fields_.type_of(json, "pre_tokenizer");
    if (type == "Sequence") {
      for (const Json& member : fields_.list(json, "pretokenizers")) {
        read(member);
      }
    } else if (type == "ByteLevel") {
      read_byte_level(json);
    } else if (type == "Metaspace") {
      read_metaspace(json);
    } else {
      read_split(json, type);
    }
  }

 private:
  void read_byte_level(const Json& json) {
    refuse_after_bytes("ByteLevel");
    if (fields_.flag(json, "add_prefix_space", true)) to_.add_prefix_space();
    if (fields_.flag(json, "use_regex", true)) {
      to_.add_split(PreTokenizer::kGpt2Pattern);
    }
    to_.add_byte_alphabet();
  }

  // What adds characters that the byte alphabet lacks.
  void refuse_after_bytes(const std::string& type) const {
    if (to_.byte_level()) {
      fields_.refuse(type + " after ByteLevel", "only splits after it");
    }
  }

  void read_metaspace(const Json& json) {
    refuse_after_bytes("Metaspace");
    const std::string mark =
        fields_.character(json, "replacement", "\xE2\x96\x81");
    const bool prefix = fields_.flag(json, "add_prefix_space", true);
    const std::string scheme =
        fields_.text(json, "prepend_scheme", prefix ? "always" : "never");
    to_.add_metaspace(mark, prepend_of(scheme),
                      fields_.flag(json, "split", true));
  }

  Prepend prepend_of(const std::string& scheme) const {
    if (scheme == "always") return Prepend::kAlways;
    if (scheme == "first") return Prepend::kFirst;
    if (scheme == "never") return Prepend::kNever;
    fields_.refuse("prepend_scheme " + scheme, "first, always or never");
  }

  void read_split(const Json& json, const std::string& type) {
    if (type == "Split") {
      const auto [pattern, literal] = fields_.pattern(json, "Split");
      add(literal ? quoted_pattern(pattern) : pattern,
          behavior_of(json, "Isolated"), fields_.flag(json, "invert", false));
    } else if (type == "Digits") {
      const bool each = fields_.flag(json, "individual_digits", false);
      add(each ? "\\p{N}" : "\\p{N}+");
    } else if (type == "Punctuation") {
      add(kPunctuation, behavior_of(json, "Isolated"));
    } else if (type == "Whitespace") {
      add(kWordOrNeither, SplitBehavior::kRemoved, true);
    } else if (type == "WhitespaceSplit") {
      add(kSpace, SplitBehavior::kRemoved);
    } else if (type == "BertPreTokenizer") {
      add(kSpace, SplitBehavior::kRemoved);
      add(kPunctuation);
    } else if (type == "CharDelimiterSplit") {
      add(quoted_pattern(fields_.character(json, "delimiter", "")),
          SplitBehavior::kRemoved);
    } else {
      fields_.refuse("pre_tokenizer " + type,
                     "Sequence, ByteLevel, Metaspace, Split, Digits, "
                     "Punctuation, Whitespace, WhitespaceSplit, "
                     "BertPreTokenizer or CharDelimiterSplit");
    }
  }

  SplitBehavior behavior_of(const Json& json, const char* absent) const {
    static constexpr std::array<std::pair<const char*, SplitBehavior>, 5>
        kBehaviors = {{{"Isolated", SplitBehavior::kIsolated},
                       {"Removed", SplitBehavior::kRemoved},
                       {"MergedWithPrevious", SplitBehavior::kWithPrevious},
                       {"MergedWithNext", SplitBehavior::kWithNext},
                       {"Contiguous", SplitBehavior::kContiguous}}};
    const std::string name = fields_.text(json, "behavior", absent);
    for (const auto& [spelled, behavior] : kBehaviors) {
      if (name == spelled) return behavior;
    }
    fields_.refuse("behavior " + name,
                   "Isolated, Removed, MergedWithPrevious, MergedWithNext or "
                   "Contiguous");
  }

  void add(const std::string& pattern,
           SplitBehavior behavior = SplitBehavior::kIsolated,
           bool invert = false) {
    try {
      to_.add_split(pattern, behavior, invert);
    } catch (const UserError& error) {
      user_error("reading tokenizer {}: {}", fields_.where(), error.what());
    }
  }

  const FieldReader& fields_;
  PreTokenizer& to_;
};

}  // namespace

void read_pre_tokenizer(const FieldReader& fields, const Json& json,
                        PreTokenizer& pre_tokenizer) {
  PreTokenizerReader(fields, pre_tokenizer).read(json);
}

}  // namespace annuli
