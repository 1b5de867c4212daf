#include <algorithm>
#include <charconv>

#include "annuli/config/yaml_tree.h"
#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

// Index of the element that `step` names, by number or by its `name`.
size_t element_index(const YamlTree& list, std::string_view step,
                     const std::string& place) {
  for (size_t i = 0; i < list.entries.size(); ++i) {
    const YamlTree* name = list.entries[i].node.find("name");
    if (name != nullptr && name->scalar == step) return i;
  }
  size_t index = 0;
  const auto [end, error] =
      std::from_chars(step.data(), step.data() + step.size(), index);
  const bool number = error == std::errc() && end == step.data() + step.size();
  if (!number || index >= list.entries.size()) {
    user_error(
        "reading {}: found {}, expected an index below {} or the name "
        "of an element",
        place, quote(step), list.entries.size());
  }
  return index;
}

YamlTree& child(YamlTree& node, std::string_view step,
                const std::string& place) {
  if (step.empty()) {
    user_error("reading {}: an empty name in the key, expected a.b.c=value",
               place);
  }
  if (node.kind == YamlTree::Kind::kList) {
    return node.entries[element_index(node, step, place)].node;
  }
  if (node.kind == YamlTree::Kind::kScalar) {
    user_error("reading {}: nothing has a place under {}, which is {}", place,
               node.place, describe(node));
  }
  node.kind = YamlTree::Kind::kMap;
  if (YamlTree* found = node.find(step)) return *found;
  YamlTree empty;
  empty.place = place;
  node.entries.push_back({std::string(step), std::move(empty)});
  return node.entries.back().node;
}

}  // namespace

void apply_override(YamlTree& tree, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    user_error("reading --set {}: expected key=value, for example seed=3",
               quote(assignment));
  }
  const std::string key = assignment.substr(0, equals);
  const std::string place = "--set " + quote(key);
  YamlTree value =
      parse_yaml(std::string_view(assignment).substr(equals + 1), place, false);
  YamlTree* node = &tree;
  std::string_view rest = key;
  for (size_t dot; (dot = rest.find('.')) != std::string_view::npos;
       rest.remove_prefix(dot + 1)) {
    node = &child(*node, rest.substr(0, dot), place);
  }
  child(*node, rest, place) = std::move(value);
}

void lay_over(YamlTree& tree, const YamlTree& over) {
  const bool merges =
      tree.kind == YamlTree::Kind::kMap && over.kind == YamlTree::Kind::kMap;
  if (!merges) {
    tree = over;
    return;
  }
  for (const YamlEntry& entry : over.entries) {
    if (YamlTree* found = tree.find(entry.key)) {
      lay_over(*found, entry.node);
    } else {
      tree.entries.push_back(entry);
    }
  }
}

}  // namespace annuli
