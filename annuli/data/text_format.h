#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "annuli/core/file.h"

// What a file of text is: by its name, and by its first bytes, which decide
// where they are certain.
//
// Suffixes are compared without regard to case:
//
//   .txt               plain: the file is one document
//   .jsonl, .ndjson    an object a line
//   .parquet           a table
//
// The first two kinds also end in .gz or .zst. A .json file is read as .jsonl
// when it is named, and is passed over in a folder, where most of them describe
// the data.
namespace annuli::data {

enum class TextKind { kPlain, kJsonLines, kParquet };
enum class Packing { kNone, kGzip, kZstd };

struct TextFormat {
  TextKind kind = TextKind::kPlain;
  Packing packing = Packing::kNone;
  bool misnamed = false;  // the bytes are not what the name says
};

// For messages.
constexpr std::string_view kTextSuffixes =
    ".txt, .jsonl, .ndjson or .parquet; the first three also with .gz or .zst";

// Letters of ASCII made small.
std::string lower_case(std::string text);

// The last suffix, in small letters, with the one before it where the last is a
// packing: ".txt.gz". Empty if there is none.
std::string suffix_of(const fs::path& path);

// By the name alone; nothing for a name that is none of ours.
std::optional<TextFormat> format_by_name(const fs::path& path);

// Whether a folder's file of this name is read.
bool is_read_in_folders(const fs::path& path);

// By name and first bytes. A UserError, with the command that converts it, for
// a file that is certainly something else (an archive, UTF-16, ...), or that is
// not packed as its name says.
TextFormat format_of(const fs::path& path);

// The same refusal for the first bytes of what was unpacked; what is packed
// twice is refused too.
void refuse_unpacked(const fs::path& path, std::string_view head);

// So many bytes of the front are looked at.
constexpr size_t kHeadBytes = 4096;

}  // namespace annuli::data
