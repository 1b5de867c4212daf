#include "annuli/core/wrap.h"

namespace annuli {

std::string wrapped(std::string_view text, size_t width) {
  std::string lines;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = text.find_first_of(" \n");
    const std::string_view word = text.substr(0, end);
    if (column > 0) {
      const bool fits = column + 1 + word.size() <= width;
      lines += fits ? ' ' : '\n';
      column = fits ? column + 1 : 0;
    }
    lines += word;
    column += word.size();
    if (end == std::string_view::npos) break;
    if (text[end] == '\n') {
      lines += '\n';
      column = 0;
    }
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string indented(std::string_view text, std::string_view indent) {
  std::string lines;
  for (const char c : text) {
    lines += c;
    if (c == '\n') lines += indent;
  }
  return lines;
}

}  // namespace annuli
