#include "annuli/tokenizer/tekken_file.h"

#include <array>

#include "annuli/core/json.h"
#include "annuli/tokenizer/base64.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/json_fields.h"
#include "annuli/tokenizer/rank_model.h"

namespace annuli {
namespace {

constexpr size_t kMostTokens = size_t{1} << 22;

// The special tokens of files that do not list theirs (up to version 7).
constexpr std::array<const char*, 20> kOldSpecial = {"<unk>",
                                                     "<s>",
                                                     "</s>",
                                                     "[INST]",
                                                     "[/INST]",
                                                     "[AVAILABLE_TOOLS]",
                                                     "[/AVAILABLE_TOOLS]",
                                                     "[TOOL_RESULTS]",
                                                     "[/TOOL_RESULTS]",
                                                     "[TOOL_CALLS]",
                                                     "[IMG]",
                                                     "<pad>",
                                                     "[IMG_BREAK]",
                                                     "[IMG_END]",
                                                     "[PREFIX]",
                                                     "[MIDDLE]",
                                                     "[SUFFIX]",
                                                     "[SYSTEM_PROMPT]",
                                                     "[/SYSTEM_PROMPT]",
                                                     "[TOOL_CONTENT]"};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : fields_(path.string()), json_(read_json(path)) {
    definition_.source = path.string();
  }

  TokenizerDefinition run() {
    if (!json_.is_object()) fields_.refuse("the file", "an object");
    const Json& config = FieldReader::field(json_, "config");
    if (!config.is_object()) fields_.refuse("no config", "an object");
    const size_t size = number(config, "default_vocab_size");
    special_ = number(config, "default_num_special_tokens");
    const Json& tokens = fields_.list(json_, "vocab");
    if (size < special_ || size - special_ > tokens.size()) {
      fields_.refuse(
          fmt::format("default_vocab_size {} with {} special tokens and a "
                      "vocab of {}",
                      size, special_, tokens.size()),
          "as many tokens as the vocabulary needs");
    }
    read_special();
    read_tokens(tokens, size - special_);
    definition_.pre_tokenizer.add_split(pattern(config));
    definition_.pre_tokenizer.add_byte_alphabet();
    return std::move(definition_);
  }

 private:
  size_t number(const Json& json, const char* name) const {
    const Json& value = FieldReader::field(json, name);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kMostTokens) {
      fields_.refuse(fmt::format("{} = {}", name, value.dump()),
                     fmt::format("a number up to {}", kMostTokens));
    }
    return value.get<size_t>();
  }

  std::string pattern(const Json& config) const {
    const std::string pattern = fields_.text(config, "pattern");
    if (pattern.empty())
      fields_.refuse("no config.pattern", "the split pattern");
    return pattern;
  }

  void read_special() {
    std::vector<std::string> names(special_);
    for (size_t id = 0; id < special_; ++id) {
      names[id] = fmt::format("<SPECIAL_{}>", id);
    }
    const Json& list = FieldReader::field(json_, "special_tokens");
    if (list.is_null()) {
      const size_t known = std::min(kOldSpecial.size(), special_);
      std::copy_n(kOldSpecial.begin(), known, names.begin());
    } else {
      for (const Json& token : fields_.list(json_, "special_tokens")) {
        read_special_token(token, names);
      }
    }
    for (size_t id = 0; id < special_; ++id) add_special(id, names[id]);
  }

  void read_special_token(const Json& token, std::vector<std::string>& names) {
    const std::string name =
        token.is_object() ? fields_.text(token, "token_str") : "";
    const size_t rank = name.empty() ? special_ : number(token, "rank");
    if (rank >= special_) {
      fields_.refuse("special token " + token.dump(),
                     fmt::format("a token_str and a rank below {}", special_));
    }
    names[rank] = name;
  }

  void add_special(size_t id, const std::string& name) {
    const auto number = static_cast<int32_t>(id);
    definition_.added_tokens.push_back(
        {.content = name, .id = number, .special = true, .in_text = false});
    if (name == "<s>") definition_.begin_ids = {number};
  }

  void read_tokens(const Json& list, size_t count) {
    std::vector<std::pair<std::string, int32_t>> tokens;
    for (size_t rank = 0; rank < count; ++rank) {
      const Json& token = list[rank];
      const bool good = token.is_object() &&
                        FieldReader::field(token, "rank") == rank &&
                        FieldReader::field(token, "token_bytes").is_string();
      auto bytes = good ? decode_base64(fields_.text(token, "token_bytes"))
                        : std::nullopt;
      if (!bytes) {
        fields_.refuse(fmt::format("vocab[{}] = {}", rank, token.dump()),
                       "its rank and its token_bytes in base64");
      }
      const auto id = static_cast<int32_t>(rank + special_);
      definition_.vocabulary.emplace_back(spell_bytes(*bytes), id);
      tokens.emplace_back(std::move(*bytes), id);
    }
    definition_.model =
        std::make_unique<RankModel>(definition_.source, std::move(tokens));
  }

  FieldReader fields_;
  Json json_;
  TokenizerDefinition definition_;
  size_t special_ = 0;
};

}  // namespace

TokenizerDefinition read_tekken(const std::filesystem::path& path) {
  return Reader(path).run();
}

}  // namespace annuli
