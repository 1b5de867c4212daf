#include "annuli/grow/model_origin.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "annuli/config/yaml_tree.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/hub_cache.h"

namespace annuli::grow {
namespace {

constexpr auto kTerms = std::to_array<std::string_view>(
    {"license", "license_name", "license_link"});
constexpr size_t kLongestCard = size_t{1} << 20;

// What stands between the two lines "---" at the top of a card.
std::string front_matter(const std::string& card) {
  constexpr std::string_view kRule = "---\n";
  if (!card.starts_with(kRule)) return "";
  const size_t end = card.find("\n---", kRule.size() - 1);
  return end == card.npos ? ""
                          : card.substr(kRule.size(), end + 1 - kRule.size());
}

std::optional<YamlTree> card_of(const ModelFile& model) try {
  const fs::path path = model.path() / "README.md";
  std::error_code error;
  if (model.format() != "folder" || !fs::is_regular_file(path, error) ||
      fs::file_size(path, error) > kLongestCard) {
    return std::nullopt;
  }
  return parse_yaml(front_matter(read_file(path)), path.string());
} catch (const UserError&) {
  return std::nullopt;
}

std::vector<std::string> words_at(const std::optional<YamlTree>& card,
                                  std::string_view key) {
  const YamlTree* node = card ? card->find(key) : nullptr;
  if (node == nullptr) return {};
  if (node->kind == YamlTree::Kind::kScalar) return {node->scalar};
  if (node->kind != YamlTree::Kind::kList) return {};
  std::vector<std::string> words;
  for (const YamlEntry& entry : node->entries) {
    if (entry.node.kind == YamlTree::Kind::kScalar) {
      words.push_back(entry.node.scalar);
    }
  }
  return words;
}

std::map<std::string, std::string> terms_of(
    const std::optional<YamlTree>& card) {
  std::map<std::string, std::string> terms;
  for (const std::string_view key : kTerms) {
    const std::vector<std::string> words = words_at(card, key);
    if (words.size() == 1) terms[std::string(key)] = words[0];
  }
  return terms;
}

}  // namespace

ModelOrigin origin_of(const std::vector<const ModelFile*>& models) {
  ModelOrigin origin;
  for (size_t i = 0; i < models.size(); ++i) {
    const std::optional<YamlTree> card = card_of(*models[i]);
    const std::string id = hub_id_of(models[i]->path());
    for (const std::string& one :
         id.empty() ? words_at(card, "base_model") : std::vector{id}) {
      if (std::ranges::find(origin.ids, one) == origin.ids.end()) {
        origin.ids.push_back(one);
      }
    }
    const auto terms = terms_of(card);
    if (i == 0) {
      origin.terms = terms;
    } else if (terms != origin.terms) {
      origin.terms.clear();
    }
  }
  return origin;
}

}  // namespace annuli::grow
