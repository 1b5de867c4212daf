#define PCRE2_CODE_UNIT_WIDTH 8
#include "annuli/tokenizer/precompiled.h"

#include <pcre2.h>

#include <cstring>
#include <new>

#include "annuli/core/error.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

constexpr size_t kLongestWholeCluster = 5;
constexpr uint32_t kNoLabel = 1u << 31;  // set in units that hold a value

// The fields of a unit of a Darts double array.
bool has_leaf(uint32_t unit) { return ((unit >> 8) & 1) != 0; }
uint32_t value_of(uint32_t unit) { return unit & ~kNoLabel; }
uint32_t label_of(uint32_t unit) { return unit & (kNoLabel | 0xFF); }
size_t offset_of(uint32_t unit) {
  return static_cast<size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

uint32_t little_endian(const char* bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) {
    value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

[[noreturn]] void refuse(const std::string& found) {
  user_error(
      "reading normalization rules (precompiled_charsmap): found {}, expected "
      "a trie and its replacements; is the file damaged?",
      found);
}

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }

}  // namespace

CharsMap::CharsMap(std::string_view blob) {
  if (blob.size() < 4) refuse(fmt::format("{} bytes", blob.size()));
  const uint32_t size = little_endian(blob.data());
  if (size == 0 || size % 4 != 0 || size > blob.size() - 4) {
    refuse(
        fmt::format("a trie of {} bytes in a blob of {}", size, blob.size()));
  }
  units_.resize(size / 4);
  for (size_t i = 0; i < units_.size(); ++i) {
    units_[i] = little_endian(blob.data() + 4 + 4 * i);
  }
  replacements_ = blob.substr(4 + size);
  const size_t end = valid_utf8_end(replacements_, 0);
  if (end != replacements_.size()) {
    refuse(fmt::format("a replacement that is no UTF-8 (byte {})", end));
  }
  check_leaves();
  find_starts();
}

void CharsMap::check_leaves() const {
  for (size_t i = 0; i < units_.size(); ++i) {
    if (label_of(units_[i]) & kNoLabel || !has_leaf(units_[i])) continue;
    const size_t leaf = i ^ offset_of(units_[i]);
    const size_t value =
        leaf < units_.size() ? value_of(units_[leaf]) : replacements_.size();
    if (value >= replacements_.size() ||
        utf8_length_at(replacements_, value) == 0) {
      refuse(fmt::format("a rule without a replacement (unit {})", i));
    }
  }
}

void CharsMap::find_starts() {
  const size_t root = offset_of(units_[0]);
  for (uint32_t byte = 1; byte < 256; ++byte) {
    const size_t at = root ^ byte;
    starts_[byte] = at < units_.size() && label_of(units_[at]) == byte;
  }
}

template <bool kLongest>
std::optional<CharsMap::Match> CharsMap::search(std::string_view text) const {
  size_t length = 0;
  uint32_t value = 0;
  size_t node = offset_of(units_[0]);
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    node ^= byte;
    if (byte == 0 || node >= units_.size()) break;
    const uint32_t unit = units_[node];
    if (label_of(unit) != byte) break;
    node ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    length = at + 1;
    value = value_of(units_[node]);
    if (!kLongest) break;
  }
  if (length == 0) return std::nullopt;
  const std::string_view rest = std::string_view(replacements_).substr(value);
  return Match{length, rest.substr(0, rest.find('\0'))};
}

std::optional<CharsMap::Match> CharsMap::longest(std::string_view text) const {
  return search<true>(text);
}

std::optional<CharsMap::Match> CharsMap::shortest(std::string_view text) const {
  return search<false>(text);
}

// Finds the end of a grapheme cluster, by PCRE2's \X.
class PrecompiledNormalizer::Clusters {
 public:
  class Search {
   public:
    explicit Search(const Clusters& clusters)
        : clusters_(clusters),
          data_(pcre2_match_data_create_from_pattern(clusters.code_, nullptr)) {
      if (data_ == nullptr) throw std::bad_alloc();
    }
    ~Search() { pcre2_match_data_free(data_); }
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;

    size_t end(std::string_view text, size_t at) {
      const int found = pcre2_match(
          clusters_.code_, reinterpret_cast<PCRE2_SPTR>(text.data()),
          text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, data_, nullptr);
      ANNULI_CHECK(found > 0, "no grapheme cluster at byte {}", at);
      return pcre2_get_ovector_pointer(data_)[1];
    }

   private:
    const Clusters& clusters_;
    pcre2_match_data* data_;
  };

  Clusters() {
    int error = 0;
    size_t offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("\\X"),
                          PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error,
                          &offset, nullptr);
    if (code_ == nullptr) throw std::bad_alloc();
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
  }
  ~Clusters() { pcre2_code_free(code_); }
  Clusters(const Clusters&) = delete;
  Clusters& operator=(const Clusters&) = delete;

 private:
  pcre2_code* code_;
};

PrecompiledNormalizer::PrecompiledNormalizer(std::string_view charsmap)
    : map_(charsmap), clusters_(std::make_unique<Clusters>()) {}

PrecompiledNormalizer::~PrecompiledNormalizer() = default;
PrecompiledNormalizer::PrecompiledNormalizer(PrecompiledNormalizer&&) noexcept =
    default;

void PrecompiledNormalizer::append(std::string_view text,
                                   std::string& out) const {
  Clusters::Search search(*clusters_);
  for (size_t at = 0; at < text.size();) {
    const bool last = at + 1 == text.size();
    // No cluster but CR LF has two ASCII characters.
    if (is_ascii(text[at]) && text[at] != '\r' &&
        (last || is_ascii(text[at + 1]))) {
      if (map_.starts_rule(static_cast<unsigned char>(text[at]))) {
        append_cluster(text.substr(at, 1), out);
      } else {
        out += text[at];
      }
      ++at;
      continue;
    }
    const size_t end = search.end(text, at);
    append_cluster(text.substr(at, end - at), out);
    at = end;
  }
}

void PrecompiledNormalizer::append_cluster(std::string_view cluster,
                                           std::string& out) const {
  if (cluster.size() <= kLongestWholeCluster) {
    if (const auto match = map_.shortest(cluster)) {
      out += match->replacement;
      return;
    }
  }
  for (size_t at = 0; at < cluster.size();) {
    const size_t length = utf8_length_at(cluster, at);
    const std::string_view character = cluster.substr(at, length);
    const auto match = map_.shortest(character);
    out += match ? match->replacement : character;
    at += length;
  }
}

}  // namespace annuli
