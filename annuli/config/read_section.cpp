#include "annuli/config/read_section.h"

#include <algorithm>

#include "annuli/core/quote.h"
#include "annuli/core/text.h"

namespace annuli {

std::string joined_key(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

void reject_unknown_keys(const YamlTree& map, const std::string& path,
                         const std::vector<std::string>& names) {
  for (const auto& [key, node] : map.entries) {
    if (std::ranges::find(names, key) != names.end()) continue;
    const std::string hint = did_you_mean(key, names);
    user_error("reading {}: unknown key {}{}", node.place,
               quote(joined_key(path, key)),
               hint.empty()
                   ? fmt::format(", expected one of {}", fmt::join(names, ", "))
                   : hint);
  }
}

}  // namespace annuli
