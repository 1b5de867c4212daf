#include "annuli/data/text_input.h"

#include "annuli/core/error.h"
#include "annuli/data/encoding_marks.h"
#include "annuli/data/json_line.h"
#include "annuli/data/parquet_text.h"
#include "annuli/data/text_format.h"
#include "annuli/data/text_reader.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli::data {
namespace {

using Use = std::function<void(std::string_view)>;

int64_t count_invalid_bytes(std::string_view text) {
  size_t count = 0;
  for (size_t at = valid_utf8_end(text, 0); at < text.size();
       at = valid_utf8_end(text, at)) {
    const size_t end = invalid_utf8_end(text, at);
    count += end - at;
    at = end;
  }
  return static_cast<int64_t>(count);
}

std::string unpacked(const fs::path& path, Packing packing) {
  TextReader reader(path, packing);
  std::string text;
  while (reader.append_to(text)) {
  }
  return text;
}

void use_plain(const fs::path& path, const TextFormat& format, TextNotes& notes,
               const Use& use) {
  const std::string text = format.packing == Packing::kNone
                               ? read_file(path)
                               : unpacked(path, format.packing);
  std::string_view document = text;
  if (document.starts_with(kByteOrderMark)) {
    document.remove_prefix(kByteOrderMark.size());
    notes.add(TextNote::kByteOrderMark, path);
  }
  notes.add(TextNote::kNotUtf8, path, count_invalid_bytes(document));
  use(document);
}

void for_each_line(const fs::path& path, Packing packing, const Use& use) {
  TextReader reader(path, packing);
  std::string pending;
  while (true) {
    const size_t seen = pending.size();
    const bool more = reader.append_to(pending);
    const std::string_view text = pending;
    size_t begin = 0;
    size_t end = text.find('\n', seen);
    for (; end != text.npos; end = text.find('\n', begin)) {
      use(text.substr(begin, end - begin));
      begin = end + 1;
    }
    if (!more) {
      if (begin < text.size()) use(text.substr(begin));
      return;
    }
    pending.erase(0, begin);
  }
}

void use_lines(const fs::path& path, const TextFormat& format,
               const std::string& column, TextNotes& notes, const Use& use) {
  int64_t number = 0;
  for_each_line(path, format.packing, [&](std::string_view line) {
    if (number == 0 && line.starts_with(kByteOrderMark)) {
      line.remove_prefix(kByteOrderMark.size());
    }
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) return;
    const LineText found = text_of_line(line, column, {path, number});
    notes.add(TextNote::kLoneSurrogate, path, found.lone_surrogates);
    use(found.text);
  });
}

void use_parquet(const fs::path& path, const std::string& column,
                 TextNotes& notes, const Use& use) {
  for_each_parquet_text(path, column, [&](auto text) {
    if (!text) {
      notes.add(TextNote::kNull, path);
      return;
    }
    notes.add(TextNote::kNotUtf8, path, count_invalid_bytes(*text));
    use(*text);
  });
}

}  // namespace

void for_each_document(const fs::path& path, const TextOptions& options,
                       TextNotes& notes, const Use& use) {
  const TextFormat format = format_of(path);
  if (format.misnamed) notes.add(TextNote::kMisnamed, path);
  switch (format.kind) {
    case TextKind::kPlain:
      return use_plain(path, format, notes, use);
    case TextKind::kJsonLines:
      return use_lines(path, format, options.column, notes, use);
    case TextKind::kParquet:
      return use_parquet(path, options.column, notes, use);
  }
}

}  // namespace annuli::data
