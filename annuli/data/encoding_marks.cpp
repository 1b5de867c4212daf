#include "annuli/data/encoding_marks.h"

#include <array>
#include <cstddef>

namespace annuli::data {
namespace {

using namespace std::string_view_literals;

// Zeros at each place of a group of four bytes.
std::array<size_t, 4> zeros_by_place(std::string_view head) {
  std::array<size_t, 4> zeros = {};
  for (size_t i = 0; i < head.size(); ++i) {
    if (head[i] == '\0') ++zeros[i % 4];
  }
  return zeros;
}

}  // namespace

std::optional<std::string_view> wide_encoding(std::string_view head) {
  if (head.starts_with("\xff\xfe\0\0"sv) ||
      head.starts_with("\0\0\xfe\xff"sv)) {
    return "UTF-32";
  }
  if (head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff")) {
    return "UTF-16";
  }
  const size_t groups = head.size() / 4;
  if (groups < 2) return std::nullopt;
  const auto zeros = zeros_by_place(head.substr(0, groups * 4));
  const auto [a, b, c, d] = zeros;
  // Most characters of a text of letters, digits and spaces; four of five.
  const auto most = [&](size_t count) { return 5 * count >= 4 * groups; };
  if (a == 0 && most(b) && most(c) && d == groups) return "UTF-32LE";
  if (d == 0 && most(c) && most(b) && a == groups) return "UTF-32BE";
  if (a == 0 && c == 0 && most(b) && most(d)) return "UTF-16LE";
  if (b == 0 && d == 0 && most(a) && most(c)) return "UTF-16BE";
  return std::nullopt;
}

}  // namespace annuli::data
