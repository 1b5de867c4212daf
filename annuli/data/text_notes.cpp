#include "annuli/data/text_notes.h"

#include <fmt/core.h>

#include "annuli/core/quote.h"

namespace annuli::data {
namespace {

// In the order of TextNote.
constexpr std::array kWhat = {
    "files read as what their first bytes say, not their names",
    "byte order marks taken off",
    "bytes that are not UTF-8, kept as they are (of a text in another encoding "
    "iconv makes UTF-8)",
    "rows without text (null) passed over",
    "halves of surrogate pairs read as U+FFFD",
};

}  // namespace

void TextNotes::add(TextNote note, const fs::path& path, int64_t count) {
  if (count == 0) return;
  Tally& tally = tallies_[static_cast<size_t>(note)];
  if (tally.count == 0) tally.first = path;
  if (tally.count == 0 || tally.last != path) ++tally.files;
  tally.count += count;
  tally.last = path;
}

std::vector<std::string> TextNotes::lines() const {
  std::vector<std::string> lines;
  for (const std::string& line : lines_) {
    lines.push_back("data: " + one_line(line));
  }
  for (size_t i = 0; i < tallies_.size(); ++i) {
    const Tally& tally = tallies_[i];
    if (tally.count == 0) continue;
    const std::string more =
        tally.files > 1 ? fmt::format(" and {} more files", tally.files - 1)
                        : "";
    lines.push_back(fmt::format("data: {}: {}, in {}{}", kWhat[i], tally.count,
                                one_line(tally.first.string()), more));
  }
  return lines;
}

}  // namespace annuli::data
