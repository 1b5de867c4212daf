#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A YAML document as a plain tree that remembers where everything stands.
//
// Guarantees: map keys are strings, unique in their map; every string is UTF-8;
// aliases are expanded; the whole tree has at most a fixed number of nodes (a
// document whose aliases multiply beyond it is refused, not expanded).
namespace annuli {

struct YamlEntry;

struct YamlTree {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;
  bool quoted = false;
  std::string place;  // "plans/seed.yaml:12" or "--set seed=3"
  std::vector<YamlEntry> entries;

  const YamlTree* find(std::string_view key) const;
  YamlTree* find(std::string_view key);
};

struct YamlEntry {
  std::string key;  // empty in lists
  YamlTree node;
};

// Parses one document. Throws UserError: "reading SOURCE:LINE: ...". With
// `numbered` false the place of every node is SOURCE itself.
YamlTree parse_yaml(std::string_view text, const std::string& source,
                    bool numbered = true);

// Applies "a.b.0.c=value"; the value is YAML. List elements go by index, or by
// the value of their `name`. Missing maps on the way are made.
void apply_override(YamlTree& tree, const std::string& assignment);

// Puts `over` on top: maps are merged key by key, anything else takes the place
// of what was there.
void lay_over(YamlTree& tree, const YamlTree& over);

// What is found, for a message: quoted, on one line, shortened.
std::string describe(const YamlTree& node);

}  // namespace annuli
