#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "annuli/config/field.h"
#include "annuli/config/yaml_tree.h"

// One YAML value into one member of a plan. Each throws UserError naming the
// place, the key, what is found and what is expected.
namespace annuli {

// "an integer, 1 to 4096", "one of carry, reset", "a list of texts".
std::string expected_integer(const Field& field);
std::string expected_number(const Field& field);

[[noreturn]] void reject(const YamlTree& node, const std::string& path,
                         const std::string& expected);

// With `none` also `none`, which an optional takes as null.
bool is_null(const YamlTree& node, bool none);

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::string& value);
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, bool& value);
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, int64_t& value);
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, double& value);
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::map<std::string, std::string>& value);
// A map that is read later, perhaps with others laid over it.
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, YamlTree& value);

// Index into `words`.
size_t read_word(const YamlTree& node, const std::string& path,
                 const std::string_view* words, size_t count);

template <typename Enum>
requires std::is_enum_v<Enum>
void read_value(const YamlTree& node, const std::string& path,
                const Field& field, Enum& value) {
  constexpr auto& kWords = EnumWords<Enum>::kWords;
  value =
      static_cast<Enum>(read_word(node, path, kWords.data(), kWords.size()));
}

}  // namespace annuli
