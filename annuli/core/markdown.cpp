#include "annuli/core/markdown.h"

#include <fmt/core.h>

#include <algorithm>

namespace annuli {
namespace {

std::string on_one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    line += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return line;
}

size_t longest_run_of_backticks(std::string_view text) {
  size_t longest = 0;
  size_t run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

// All that stand there are numbers, or "-" for one that is not known.
bool holds_numbers(const std::vector<std::vector<std::string>>& rows,
                   size_t column) {
  return std::all_of(rows.begin() + 1, rows.end(), [&](const auto& row) {
    constexpr std::string_view kNumber = "0123456789+-.";
    constexpr size_t kLongest = 20;  // with a unit
    const std::string& cell = row[column];
    return !cell.empty() && cell.size() <= kLongest &&
           kNumber.find(cell[0]) != kNumber.npos;
  });
}

}  // namespace

std::string markdown_text(std::string_view text) {
  constexpr std::string_view kMarkup = "\\`*_{}[]<>#|~&!:@";
  std::string escaped;
  for (const char c : on_one_line(text)) {
    if (kMarkup.find(c) != kMarkup.npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string markdown_code(std::string_view text) {
  // A bar ends a cell even within code.
  std::string inside;
  for (const char c : on_one_line(text)) {
    if (c == '|') inside += '\\';
    inside += c;
  }
  const std::string fence(longest_run_of_backticks(inside) + 1, '`');
  const bool touches = inside.starts_with('`') || inside.ends_with('`');
  const char* space = touches || inside.empty() ? " " : "";
  return fence + space + inside + space + fence;
}

std::string markdown_block(std::string_view text) {
  const std::string fence(
      std::max<size_t>(3, longest_run_of_backticks(text) + 1), '`');
  std::string block = fence + "text\n" + std::string(text);
  if (!block.ends_with('\n')) block += '\n';
  return block + fence + "\n";
}

std::string number_or_dash(const Json& of, const char* key,
                           const char* format) {
  const auto found = of.find(key);
  if (found == of.end() || !found->is_number()) return "-";
  return fmt::format(fmt::runtime(format), found->get<double>());
}

std::string markdown_table(const std::vector<std::vector<std::string>>& rows) {
  std::string table;
  const auto add = [&](const std::vector<std::string>& row) {
    for (const std::string& cell : row) table += "| " + cell + " ";
    table += "|\n";
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    add(rows[i]);
    if (i > 0) continue;
    std::vector<std::string> rule;
    for (size_t column = 0; column < rows[0].size(); ++column) {
      rule.emplace_back(holds_numbers(rows, column) ? "---:" : "---");
    }
    add(rule);
  }
  return table;
}

}  // namespace annuli
