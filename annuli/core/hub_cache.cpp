#include "annuli/core/hub_cache.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <system_error>

namespace annuli {
namespace {

constexpr std::string_view kFolder = "models--";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path with_home(const std::string& path) {
  if (!path.starts_with("~/")) return path;
  return fs::path(variable("HOME")) / path.substr(2);
}

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         c == '-' || c == '.';
}

// A part of an id, by the hub's rules.
bool is_name(std::string_view text) {
  const auto at_end = [](char c) { return c == '-' || c == '.'; };
  return !text.empty() && text.size() <= 96 && !at_end(text.front()) &&
         !at_end(text.back()) && text.find("--") == text.npos &&
         text.find("..") == text.npos &&
         std::ranges::all_of(text, is_name_character);
}

bool is_id(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return is_name(text);
  return is_name(text.substr(0, slash)) && is_name(text.substr(slash + 1));
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Takes off what stands before an id in an address.
enum class Address { kNone, kOfHub, kOther };

Address take_scheme(std::string_view& text) {
  if (take(text, "hf://")) {
    take(text, "models/");
    return Address::kOfHub;
  }
  const bool scheme = take(text, "https://") || take(text, "http://");
  take(text, "www.");
  const bool host = take(text, "huggingface.co/") || take(text, "hf.co/");
  return host ? Address::kOfHub : scheme ? Address::kOther : Address::kNone;
}

// "acme/tiny/tree/main/config.json" as the hub's pages have it.
std::optional<HubName> name_in_url(std::string_view text) {
  std::string_view rest = text.substr(0, text.find_first_of("?#"));
  const auto next = [&] {
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string part(rest.substr(0, slash));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    return part;
  };
  HubName name{.id = next()};
  if (!rest.empty()) name.id = fmt::format("{}/{}", name.id, next());
  const size_t at = name.id.find('@');
  if (at != std::string::npos) {
    name.revision = name.id.substr(at + 1);
    name.id.resize(at);
  }
  const std::string page = next();
  if (page == "tree" || page == "blob" || page == "resolve") {
    name.revision = next();
  }
  if (!is_id(name.id) || name.revision.empty()) return std::nullopt;
  return name;
}

}  // namespace

fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string value = variable(name); !value.empty()) {
      return with_home(value);
    }
  }
  if (const std::string home = variable("HF_HOME"); !home.empty()) {
    return with_home(home) / "hub";
  }
  const std::string cache = variable("XDG_CACHE_HOME");
  return with_home(cache.empty() ? "~/.cache" : cache) / "huggingface" / "hub";
}

bool is_hub_url(std::string_view text) {
  return take_scheme(text) != Address::kNone;
}

std::optional<HubName> hub_name(std::string_view text) {
  const Address address = take_scheme(text);
  if (address == Address::kOfHub) return name_in_url(text);
  if (address == Address::kOther || !is_id(text)) return std::nullopt;
  return HubName{.id = std::string(text)};
}

fs::path hub_repository(const std::string& id) {
  const size_t slash = id.find('/');
  if (slash == std::string::npos)
    return hub_cache() / fmt::format("{}{}", kFolder, id);
  return hub_cache() / fmt::format("{}{}--{}", kFolder, id.substr(0, slash),
                                   id.substr(slash + 1));
}

std::optional<fs::path> hub_snapshot(const fs::path& repository,
                                     const std::string& revision) {
  std::error_code error;
  std::string commit = revision;
  const fs::path reference = repository / "refs" / revision;
  if (fs::is_regular_file(reference, error)) {
    commit = read_file(reference);
    commit.erase(commit.find_last_not_of(" \r\n") + 1);
  }
  const bool plain = !commit.empty() && commit.find('/') == commit.npos &&
                     commit != "." && commit != "..";
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!plain || !fs::is_directory(snapshot, error)) return std::nullopt;
  return snapshot;
}

std::string hub_id_of(const fs::path& path) {
  std::error_code error;
  for (const fs::path& part : fs::absolute(path, error)) {
    const std::string name = part.string();
    if (!name.starts_with(kFolder)) continue;
    const std::string id = name.substr(kFolder.size());
    const size_t between = id.find("--");
    if (between == std::string::npos) return is_name(id) ? id : "";
    const std::string whole =
        fmt::format("{}/{}", id.substr(0, between), id.substr(between + 2));
    return is_id(whole) ? whole : "";
  }
  return "";
}

}  // namespace annuli
