#include "annuli/report/page.h"

#include <fmt/core.h>

#include <map>

#include "annuli/core/error.h"

namespace annuli::report {
namespace {

struct Asset {
  std::string_view name;
  std::string_view text;
};

constexpr std::string_view kBeginning =
    "<!doctype html>\n<!-- A page of annuli report. -->\n";

const Asset kAssets[] = {
#include "page_files.inc"
};

// Only served pages have it.
constexpr std::string_view kLiveScript = "live.js";

// The files of a kind, in the order in which the build lists them. D3's are
// those that came as .min.js.
std::string joined(std::string_view suffix) {
  constexpr std::string_view kOfD3 = ".min.js";
  std::string text;
  for (const Asset& asset : kAssets) {
    if (!asset.name.ends_with(suffix)) continue;
    if (suffix != kOfD3 && asset.name.ends_with(kOfD3)) continue;
    if (suffix != kLiveScript && asset.name == kLiveScript) continue;
    text += asset.text;
    if (!text.ends_with('\n')) text += '\n';
  }
  return text;
}

// No `<` is left: it stands in texts only, where \u003c is the same.
std::string safe_json(const Json& data) {
  const std::string json =
      data.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  safe.reserve(json.size() + json.size() / 64);
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

// `connect` is what it may ask.
std::string policy(std::string_view connect) {
  return fmt::format(
      "default-src 'none'; script-src 'unsafe-inline'; style-src "
      "'unsafe-inline'; img-src data:; connect-src {}; base-uri 'none'; "
      "form-action 'none'",
      connect);
}

std::string filled(const Json& data, const std::string& policy,
                   const std::string& live) {
  const std::map<std::string, std::string, std::less<>> parts = {
      {"POLICY", policy},         {"LIVE", live},
      {"STYLES", joined(".css")}, {"LIBRARY", joined(".min.js")},
      {"SCRIPTS", joined(".js")}, {"DATA", safe_json(data)}};
  const std::string page = joined(".html");
  std::string out;
  size_t done = 0;
  for (size_t begin = 0; (begin = page.find("@@", done)) != page.npos;) {
    const size_t end = page.find("@@", begin + 2);
    ANNULI_CHECK(end != page.npos, "the page's template has an open @@");
    const auto part = parts.find(page.substr(begin + 2, end - begin - 2));
    ANNULI_CHECK(part != parts.end(), "the page's template has no such part");
    out += page.substr(done, begin - done) + part->second;
    done = end + 2;
  }
  return out + page.substr(done);
}

}  // namespace

std::string html_page(const Json& data) {
  return filled(data, policy("'none'"), "");
}

std::string served_page(const Json& data) {
  return filled(data, served_page_policy(),
                "\n<script>\n" + joined(kLiveScript) + "</script>");
}

std::string served_page_policy() { return policy("'self'"); }

bool is_html_page(std::string_view beginning) {
  return beginning.starts_with(kBeginning);
}

}  // namespace annuli::report
