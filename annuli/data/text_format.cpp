#include "annuli/data/text_format.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "annuli/core/error.h"
#include "annuli/data/encoding_marks.h"

namespace annuli::data {
namespace {

using namespace std::string_view_literals;

// A format that is known by its bytes, and the way out of it ({}: the file).
struct Foreign {
  std::string_view magic;
  size_t offset;
  const char* name;
  const char* remedy;
};

constexpr std::array kForeign = {
    Foreign{"BZh91AY&SY"sv, 0, "bzip2 data", "bunzip2 {}"},
    Foreign{"\xfd\x37zXZ\0"sv, 0, "xz data", "unxz {}"},
    Foreign{"\x04\x22\x4d\x18"sv, 0, "lz4 data", "lz4 -d {}"},
    Foreign{"PK\3\4"sv, 0, "a zip archive", "unzip {}"},
    Foreign{"PK\5\6"sv, 0, "an empty zip archive", "unzip -l {}"},
    Foreign{"7z\xbc\xaf\x27\x1c"sv, 0, "a 7z archive", "7z x {}"},
    Foreign{"Rar!\x1a\x07"sv, 0, "a rar archive", "unrar x {}"},
    Foreign{"ustar"sv, 257, "a tar archive", "tar -xf {}"},
    Foreign{"ARROW1\0\0"sv, 0, "an Arrow file",
            "pyarrow.parquet.write_table(pyarrow.feather.read_table('{}'), "
            "'NAME.parquet') in Python"},
    Foreign{"Obj\1"sv, 0, "an Avro file", "a tool that writes JSON lines"},
    Foreign{"SQLite format 3\0"sv, 0, "an SQLite database",
            "sqlite3 -json {} 'SELECT text FROM ...' | jq -c '.[]'"},
    Foreign{"\x89HDF\r\n\x1a\n"sv, 0, "an HDF5 file",
            "a tool that writes JSON lines"},
    Foreign{"\x93NUMPY"sv, 0, "a NumPy array", "a tool that writes JSON lines"},
    Foreign{"%PDF-1."sv, 0, "a PDF document", "pdftotext {}"},
    Foreign{"ANNULITK"sv, 0, "a token file",
            "--tokens {}, or data.tokens in a plan"},
    Foreign{"version https://git-lfs.github.com/spec/"sv, 0,
            "a pointer of Git LFS instead of the data", "git lfs pull"},
};

// Of names; for what cannot be known by its bytes.
constexpr std::array kPackers = {
    std::pair{".bz2", "bunzip2"},  std::pair{".xz", "unxz"},
    std::pair{".lzma", "unlzma"},  std::pair{".lz4", "lz4 -d"},
    std::pair{".br", "brotli -d"}, std::pair{".zip", "unzip"}};

bool has(std::string_view head, std::string_view magic, size_t offset = 0) {
  return head.size() >= offset && head.substr(offset).starts_with(magic);
}

// A short word could begin a text; then there are no zeros behind it.
bool is(const Foreign& foreign, std::string_view head) {
  if (!has(head, foreign.magic, foreign.offset)) return false;
  const bool spelled = std::ranges::all_of(
      foreign.magic, [](char c) { return c >= ' ' && c <= '~'; });
  return !spelled || head.find('\0') != head.npos || foreign.magic.size() >= 7;
}

// Of the bits after the method some must be zero.
bool is_gzip(std::string_view head) {
  return head.size() >= 10 && has(head, "\x1f\x8b\x08") &&
         (static_cast<unsigned char>(head[3]) & 0xe0) == 0;
}

bool is_zstd(std::string_view head) {
  const bool skippable = has(head, "\x2a\x4d\x18", 1) &&
                         (static_cast<unsigned char>(head[0]) & 0xf0) == 0x50;
  return has(head, "\x28\xb5\x2f\xfd") || skippable;
}

Packing packing_of(std::string_view head) {
  if (is_gzip(head)) return Packing::kGzip;
  return is_zstd(head) ? Packing::kZstd : Packing::kNone;
}

struct Ends {
  std::string head;  // the first kHeadBytes
  std::string tail;  // the last 4, if there are more than 8
};

Ends ends_of(const fs::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "rbe"), &std::fclose);
  Ends ends{std::string(kHeadBytes, '\0'), std::string(4, '\0')};
  if (file) {
    ends.head.resize(std::fread(ends.head.data(), 1, kHeadBytes, file.get()));
  }
  if (!file || std::ferror(file.get())) {
    user_error("reading {}: {}", path.string(), std::strerror(errno));
  }
  if (ends.head.size() <= 8 || std::fseek(file.get(), -4, SEEK_END) != 0 ||
      std::fread(ends.tail.data(), 1, 4, file.get()) != 4) {
    ends.tail.clear();
  }
  return ends;
}

// PARE: its footer is encrypted.
bool is_parquet(const Ends& ends) {
  return ends.tail == ends.head.substr(0, 4) &&
         (ends.tail == "PAR1" || ends.tail == "PARE");
}

std::string_view name_of(Packing packing) {
  return packing == Packing::kGzip ? "gzip" : "zstd";
}

std::optional<Packing> packing_by_suffix(std::string_view suffix) {
  if (suffix == ".gz") return Packing::kGzip;
  if (suffix == ".zst" || suffix == ".zstd") return Packing::kZstd;
  return std::nullopt;
}

const char* unpacker_of(std::string_view suffix) {
  const auto* found = std::ranges::find_if(kPackers, [&](const auto& packer) {
    return suffix.ends_with(packer.first);
  });
  return found == kPackers.end() ? nullptr : found->second;
}

[[noreturn]] void refuse_name(const fs::path& path) {
  const std::string suffix = suffix_of(path);
  if (const char* unpacker = unpacker_of(suffix)) {
    user_error("reading text from {}: {} is not read; try: {} {}",
               path.string(), suffix, unpacker, path.string());
  }
  user_error(
      "reading text from {}: expected a .txt file or another that is read "
      "({}); "
      "name it so if it is one",
      path.string(), kTextSuffixes);
}

void refuse_foreign(const fs::path& path, std::string_view head) {
  for (const Foreign& foreign : kForeign) {
    if (!is(foreign, head)) continue;
    user_error("reading {}: found {}, expected text; try: {}", path.string(),
               foreign.name,
               fmt::format(fmt::runtime(foreign.remedy), path.string()));
  }
  if (const auto encoding = wide_encoding(head)) {
    user_error(
        "reading {}: found {}, expected UTF-8; try: iconv -f {} -t UTF-8 {} > "
        "NEW",
        path.string(), *encoding, *encoding, path.string());
  }
}

[[noreturn]] void refuse_bytes(const fs::path& path, std::string_view expected,
                               const Ends& ends) {
  const bool empty = ends.head.empty();
  user_error("reading {}: found {}, expected {} data by the name{}",
             path.string(), empty ? "an empty file" : "something else",
             expected,
             empty ? "; is it whole?"
                   : "; if it is plain text, name it without that suffix");
}

}  // namespace

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

std::string suffix_of(const fs::path& path) {
  const fs::path name = lower_case(path.filename().string());
  const std::string last = name.extension().string();
  if (!packing_by_suffix(last) && unpacker_of(last) == nullptr) return last;
  return name.stem().extension().string() + last;
}

std::optional<TextFormat> format_by_name(const fs::path& path) {
  fs::path name = lower_case(path.filename().string());
  TextFormat format;
  if (const auto packing = packing_by_suffix(name.extension().string())) {
    format.packing = *packing;
    name = name.stem();
  }
  const std::string suffix = name.extension().string();
  if (suffix == ".txt") return format;
  format.kind = TextKind::kJsonLines;
  if (suffix == ".jsonl" || suffix == ".ndjson" || suffix == ".json") {
    return format;
  }
  format.kind = TextKind::kParquet;
  if (suffix == ".parquet" && format.packing == Packing::kNone) return format;
  return std::nullopt;
}

bool is_read_in_folders(const fs::path& path) {
  return format_by_name(path) && !suffix_of(path).starts_with(".json.") &&
         suffix_of(path) != ".json";
}

void refuse_unpacked(const fs::path& path, std::string_view head) {
  refuse_foreign(path, head);
  if (packing_of(head) != Packing::kNone) {
    const std::string_view name = name_of(packing_of(head));
    user_error("reading {}: found {} data in it, packed twice; try: gunzip {}",
               path.string(), name, path.string());
  }
}

TextFormat format_of(const fs::path& path) {
  const Ends ends = ends_of(path);
  const auto named = format_by_name(path);
  if (is_parquet(ends)) {
    return {.kind = TextKind::kParquet,
            .misnamed = named && named->kind != TextKind::kParquet};
  }
  refuse_foreign(path, ends.head);
  if (!named) refuse_name(path);
  if (named->kind == TextKind::kParquet) refuse_bytes(path, "Parquet", ends);
  TextFormat found = *named;
  found.packing = packing_of(ends.head);
  if (found.packing == Packing::kNone && named->packing != Packing::kNone) {
    refuse_bytes(path, name_of(named->packing), ends);
  }
  found.misnamed = found.packing != named->packing;
  return found;
}

}  // namespace annuli::data
