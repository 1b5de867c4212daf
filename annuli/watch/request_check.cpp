#include "annuli/watch/request_check.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace annuli::watch {
namespace {

constexpr std::array<std::string_view, 4> kPaths = {"/", "/data", "/events",
                                                    "/steps"};
constexpr std::string_view kLineEnd = "\r\n";

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return made;
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> bytes = {};
  return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

// Nothing but printable ASCII.
bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

std::optional<Refusal> refusal_of_target(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (!is_plain(target) || !path.starts_with('/') ||
      target.find_first_of("%#\\") != target.npos ||
      path.find("..") != path.npos) {
    return Refusal{400, "this is no path that is served here"};
  }
  if (std::ranges::find(kPaths, path) == kPaths.end()) {
    return Refusal{404, "there is nothing here; the page is at /"};
  }
  return std::nullopt;
}

struct Head {
  std::string_view method;
  std::string_view target;
  int hosts = 0;
  std::string_view host;
};

// Nothing if it is not made as HTTP has it.
std::optional<Head> taken_apart(std::string_view head) {
  const std::string_view first = head.substr(0, head.find(kLineEnd));
  const size_t a = first.find(' ');
  const size_t b = first.rfind(' ');
  if (a == first.npos || a == b) return std::nullopt;
  const std::string_view version = first.substr(b + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return std::nullopt;
  Head made = {.method = first.substr(0, a),
               .target = first.substr(a + 1, b - a - 1)};
  head.remove_prefix(first.size() + kLineEnd.size());
  while (true) {
    const size_t end = head.find(kLineEnd);
    if (end == head.npos) return std::nullopt;
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + kLineEnd.size());
    if (line.empty()) break;
    const size_t colon = line.find(':');
    // A line that goes on with a blank would be a part of the one before.
    if (colon == line.npos || !is_plain(line.substr(0, colon))) {
      return std::nullopt;
    }
    if (lower(line.substr(0, colon)) != "host") continue;
    ++made.hosts;
    made.host = trimmed(line.substr(colon + 1));
  }
  if (!head.empty()) return std::nullopt;
  return made;
}

bool has_control_bytes(std::string_view head) {
  for (size_t i = 0; i < head.size(); ++i) {
    const char c = head[i];
    if (c == '\r' && head.substr(i).starts_with(kLineEnd)) {
      ++i;
    } else if ((c >= 0 && c < ' ' && c != '\t') || c == 127) {
      return true;
    }
  }
  return false;
}

const char* phrase_of(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Service Unavailable";
  }
}

}  // namespace

bool is_served_host(std::string_view host, const ServedAt& at) {
  std::string name = lower(host);
  const std::string port = fmt::format(":{}", at.port);
  if (name.ends_with(port)) {
    name.resize(name.size() - port.size());
  } else if (at.port != 80) {
    return false;
  }
  if (name.starts_with('[') != name.ends_with(']')) return false;
  if (name.starts_with('[')) {
    name = name.substr(1, name.size() - 2);
    if (name.find(':') == name.npos) return false;
  } else if (name.find(':') != name.npos) {
    return false;
  }
  if (name.empty()) return false;
  if (name == "localhost" || name == "127.0.0.1" || name == "::1") return true;
  if (name == lower(at.host)) return true;
  return at.any && (is_address(name) || name == lower(at.machine));
}

std::optional<Refusal> refusal_of(std::string_view head, const ServedAt& at) {
  const auto made = has_control_bytes(head) ? std::nullopt : taken_apart(head);
  if (!made) return Refusal{400, "this is no request of HTTP/1.1"};
  if (made->hosts != 1 || !is_served_host(made->host, at)) {
    return Refusal{403, "the header Host does not name this server"};
  }
  if (made->method != "GET" && made->method != "HEAD") {
    return Refusal{405, "a run is only looked at: GET and HEAD"};
  }
  return refusal_of_target(made->target);
}

std::string response_of(const Refusal& refusal) {
  const std::string body = refusal.reason + "\n";
  return fmt::format(
      "HTTP/1.1 {} {}\r\n{}Content-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: {}\r\nX-Content-Type-Options: nosniff\r\n"
      "Cache-Control: no-store\r\nConnection: close\r\n\r\n{}",
      refusal.status, phrase_of(refusal.status),
      refusal.status == 405 ? "Allow: GET, HEAD\r\n" : "", body.size(), body);
}

std::string passed_on(std::string_view head) {
  return fmt::format("{}\r\n\r\n", head.substr(0, head.find(kLineEnd)));
}

std::optional<int64_t> number_of(std::string_view text) {
  constexpr size_t kMostDigits = 15;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.empty() || text.size() > kMostDigits ||
      !std::ranges::all_of(text, is_digit)) {
    return std::nullopt;
  }
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace annuli::watch
