#pragma once

#include <fmt/ranges.h>

#include <optional>
#include <string>
#include <vector>

#include "annuli/config/read_value.h"
#include "annuli/core/error.h"

// A section (a struct that has its own visit_fields, see plan_fields.h) from a
// map: every key known, every required one there. Include the fields before
// this.
namespace annuli {

// "data.text"
std::string joined_key(const std::string& path, const std::string& name);

// UserError for the first that is none of the names.
void reject_unknown_keys(const YamlTree& map, const std::string& path,
                         const std::vector<std::string>& names);

struct NameCollector {
  std::vector<std::string>& names;
  void operator()(const Field& field, const auto&) const {
    names.push_back(field.name);
  }
};

template <typename S>
std::vector<std::string> field_names() {
  std::vector<std::string> names;
  const S section;
  visit_fields(NameCollector{names}, section);
  return names;
}

template <Section S>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, S& section);
template <typename T>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::optional<T>& value);
template <typename T>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::vector<T>& values);

// Reads each field of one section from one map. What a model is taken `from`
// has the fields that would be required.
struct SectionReader {
  const YamlTree& map;
  const std::string& path;

  // The field that stands in this one's place; nullptr if none does.
  const YamlTree* other(const Field& field) const {
    for (const std::string& name : field.instead) {
      const YamlTree* node = map.find(name);
      if (node != nullptr && !is_null(*node, true)) return node;
    }
    return nullptr;
  }

  template <typename T>
  void operator()(const Field& field, T& value) const {
    const std::string key = joined_key(path, field.name);
    const YamlTree* instead = other(field);
    if (const YamlTree* node = map.find(field.name)) {
      if (instead != nullptr) {
        reject(*node, key,
               fmt::format("one of {}, {}", field.name,
                           fmt::join(field.instead, ", ")));
      }
      read_value(*node, key, field, value);
    } else if (instead != nullptr) {
      value = {};
    } else if (field.required && map.find("from") == nullptr) {
      user_error("reading {}: {} is missing; expected it ({})", map.place, key,
                 field.help);
    }
  }
};

template <Section S>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, S& section) {
  if (node.kind == YamlTree::Kind::kNull && !field.required) return;
  if (node.kind != YamlTree::Kind::kMap)
    reject(node, path,
           fmt::format("a map of {}", fmt::join(field_names<S>(), ", ")));
  reject_unknown_keys(node, path, field_names<S>());
  visit_fields(SectionReader{node, path}, section);
}

template <typename T>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::optional<T>& value) {
  if (is_null(node, true)) {
    value.reset();
  } else {
    read_value(node, path, field, value.emplace());
  }
}

template <typename T>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::vector<T>& values) {
  values.clear();
  if (node.kind == YamlTree::Kind::kNull) return;
  const bool single = node.kind == YamlTree::Kind::kScalar && !Section<T>;
  if (single) return read_value(node, path, field, values.emplace_back());
  if (node.kind != YamlTree::Kind::kList) reject(node, path, "a list");
  for (size_t i = 0; i < node.entries.size(); ++i) {
    read_value(node.entries[i].node, joined_key(path, std::to_string(i)), field,
               values.emplace_back());
  }
}

// All of a document.
template <Section S>
S read_document(const YamlTree& tree) {
  S section;
  reject_unknown_keys(tree, "", field_names<S>());
  visit_fields(SectionReader{tree, ""}, section);
  return section;
}

}  // namespace annuli
