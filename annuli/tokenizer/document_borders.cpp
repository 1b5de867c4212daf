#include "annuli/tokenizer/document_borders.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/tokenizer/special_token_files.h"

namespace annuli {
namespace {

using Ids = std::vector<int32_t>;

// As many as a token file records (data/token_file.h).
constexpr size_t kMostIds = 20;

void add_once(Ids& ids, int32_t id) {
  if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
}

bool holds(std::span<const int32_t> ids, int32_t id) {
  return std::ranges::find(ids, id) != ids.end();
}

// Control symbols of SentencePiece stand for no text.
bool is_special(const Tokenizer& tokenizer, int32_t id) {
  if (id == tokenizer.end_of_text() || holds(tokenizer.begin_ids(), id) ||
      holds(tokenizer.end_ids(), id)) {
    return true;
  }
  const std::string_view text = tokenizer.token_bytes(id);
  const auto special = tokenizer.special_tokens();
  return text.empty() || std::ranges::find(special, text) != special.end();
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return value;
}

std::optional<int32_t> known_id(const Tokenizer& tokenizer, int64_t id) {
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) return std::nullopt;
  const auto narrow = static_cast<int32_t>(id);
  return tokenizer.has_token(narrow) ? std::optional(narrow) : std::nullopt;
}

Ids chosen(const Tokenizer& tokenizer, const std::string& text,
           const char* which) {
  if (text == "none") return {};
  const std::optional<int64_t> number = whole_number(text);
  const std::optional<int32_t> id =
      number ? known_id(tokenizer, *number) : tokenizer.token_to_id(text);
  if (!id) {
    user_error(
        "choosing the {} token: found {}, expected a token of {}, its id, or "
        "none",
        which, quote(text), tokenizer.name());
  }
  return {*id};
}

class Finder {
 public:
  Finder(const Tokenizer& tokenizer, const fs::path& model_folder)
      : tokenizer_(tokenizer) {
    if (tokenizer.name() == "bytes") return;
    const fs::path folder = folder_of(tokenizer);
    files_ = read_special_token_files(
        folder, model_folder.empty() ? folder : model_folder);
  }

  DocumentBorders run(const BorderChoice& choice) {
    found_.begin = choice.begin_token.empty()
                       ? begin()
                       : chosen(tokenizer_, choice.begin_token, "begin");
    if (choice.end_token.empty()) {
      find_end();
    } else {
      found_.end = chosen(tokenizer_, choice.end_token, "end");
      found_.stops = found_.end;
    }
    if (found_.begin.size() + found_.end.size() > kMostIds) {
      user_error(
          "reading tokenizer {}: its post-processor puts {} tokens around a "
          "text, expected at most {}",
          tokenizer_.name(), found_.begin.size() + found_.end.size(), kMostIds);
    }
    return std::move(found_);
  }

 private:
  Ids begin() {
    const auto ids = tokenizer_.begin_ids();
    if (!ids.empty()) return {ids.begin(), ids.end()};
    if (!files_.add_bos_token || tokenizer_.name().ends_with(".json"))
      return {};
    const auto id =
        named("bos_token", files_.config_bos_token, files_.map_bos_token);
    return id ? Ids{*id} : Ids{};
  }

  void find_end() {
    const auto eos =
        named("eos_token", files_.config_eos_token, files_.map_eos_token);
    const Ids config = known("config.json", files_.config_eos);
    const Ids generation =
        known("generation_config.json", files_.generation_eos);
    Ids candidates;
    if (eos) candidates.push_back(*eos);
    for (const Ids* ids : {&config, &generation}) {
      for (const int32_t id : *ids) {
        if (is_special(tokenizer_, id)) add_once(candidates, id);
      }
    }
    found_.end = end_of_documents(candidates);
    found_.stops = !generation.empty() ? generation
                   : !config.empty()   ? config
                   : eos               ? Ids{*eos}
                                       : Ids{};
    for (const int32_t id : found_.end) add_once(found_.stops, id);
    say_ordinary();
    if (found_.end.empty()) {
      say("{} names no end token: documents follow each other without one; "
          "give it with --end-token TEXT (in a plan: data.end_token)",
          tokenizer_.name());
    }
  }

  Ids end_of_documents(const Ids& candidates) const {
    const auto ids = tokenizer_.end_ids();
    if (!ids.empty()) return {ids.begin(), ids.end()};
    const auto usual = tokenizer_.end_of_text();
    if (usual && (candidates.empty() || holds(candidates, *usual))) {
      return {*usual};
    }
    return candidates.empty() ? Ids{} : Ids{candidates.front()};
  }

  std::optional<int32_t> named(const char* field,
                               const std::optional<std::string>& config,
                               const std::optional<std::string>& map) {
    const bool map_first = map && !files_.map_is_old;
    const auto& name = map_first || !config ? map : config;
    if (!name) return std::nullopt;
    if (config && map && *config != *map) {
      say("{} is {} in tokenizer_config.json and {} in "
          "special_tokens_map.json; {} is taken, as transformers does",
          field, quote(*config), quote(*map), quote(*name));
    }
    const auto id = tokenizer_.token_to_id(*name);
    if (!id) {
      say("{} {} is no token of {}: it is passed over", field, quote(*name),
          tokenizer_.name());
    }
    return id;
  }

  Ids known(const char* file, const std::vector<int64_t>& ids) {
    Ids found;
    for (const int64_t id : ids) {
      if (const auto narrow = known_id(tokenizer_, id)) {
        add_once(found, *narrow);
      } else {
        say("eos_token_id {} of {} is no token of {}: it is passed over", id,
            file, tokenizer_.name());
      }
    }
    return found;
  }

  void say_ordinary() {
    for (const int32_t id : found_.stops) {
      if (holds(found_.end, id) || is_special(tokenizer_, id)) continue;
      say("eos_token_id {} is {}, an ordinary token of {}: it stops "
          "generation, and documents do not end with it",
          id, quote(tokenizer_.token_bytes(id)), tokenizer_.name());
    }
  }

  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    found_.notices.push_back("documents: " +
                             fmt::format(format, std::forward<Args>(args)...));
  }

  const Tokenizer& tokenizer_;
  SpecialTokenFiles files_;
  DocumentBorders found_;
};

}  // namespace

const std::vector<int32_t>& DocumentBorders::before_document() const {
  static const std::vector<int32_t> kNone;
  return begin == end ? kNone : begin;
}

DocumentBorders document_borders(const Tokenizer& tokenizer,
                                 const BorderChoice& choice,
                                 const fs::path& model_folder) {
  return Finder(tokenizer, model_folder).run(choice);
}

}  // namespace annuli
