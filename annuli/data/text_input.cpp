#include "annuli/data/text_input.h"

#include <glob.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "annuli/core/error.h"
#include "annuli/core/json.h"

namespace annuli::data {
namespace {

constexpr std::array<std::string_view, 4> kSuffixes = {".txt", ".txt.gz",
                                                       ".jsonl", ".jsonl.gz"};

bool has_text_suffix(const fs::path& path) {
  const std::string name = path.filename().string();
  return std::ranges::any_of(kSuffixes, [&](std::string_view suffix) {
    return name.ends_with(suffix);
  });
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

std::vector<fs::path> files_in_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator();
       entry.increment(error)) {
    if (is_hidden(entry->path())) {
      if (entry->is_directory()) entry.disable_recursion_pending();
    } else if (entry->is_regular_file() && has_text_suffix(entry->path())) {
      files.push_back(entry->path());
    }
  }
  if (error) {
    user_error("reading text from {}: {}", folder.string(), error.message());
  }
  if (files.empty()) {
    user_error(
        "reading text from {}: found no .txt, .txt.gz, .jsonl or "
        ".jsonl.gz file in it",
        folder.string());
  }
  std::ranges::sort(files);
  return files;
}

std::vector<fs::path> matches_of(const std::string& pattern) {
  glob_t found = {};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  const std::unique_ptr<glob_t, decltype(&::globfree)> owner(&found,
                                                             &::globfree);
  if (status != 0 || found.gl_pathc == 0) {
    user_error("reading text from '{}': no file matches", pattern);
  }
  return {found.gl_pathv, found.gl_pathv + found.gl_pathc};
}

// The paths an input names: itself if it exists, its matches if it is a glob.
std::vector<fs::path> paths_of(const std::string& input) {
  std::error_code error;
  if (fs::exists(input, error)) return {input};
  if (input.find_first_of("*?[") != input.npos) return matches_of(input);
  user_error("reading text from {}: no such file or folder", input);
}

bool is_gzip(const fs::path& path) { return path.extension() == ".gz"; }

bool is_jsonl(const fs::path& path) {
  return (is_gzip(path) ? path.stem() : path).extension() == ".jsonl";
}

// The bytes of a file piece by piece; zlib unpacks .gz and hands plain files
// through.
class TextReader {
 public:
  explicit TextReader(const fs::path& path)
      : path_(path), file_(::gzopen(path.c_str(), "rb"), &::gzclose_r) {
    if (!file_) {
      user_error("reading {}: {}", path.string(), std::strerror(errno));
    }
    ::gzbuffer(file_.get(), 1 << 18);
    if (is_gzip(path) && ::gzdirect(file_.get()) != 0) {
      user_error("reading {}: found no gzip data, expected it by the name",
                 path.string());
    }
  }

  // Appends the next piece to `text`; false at the end.
  bool append_to(std::string& text) {
    constexpr size_t kPiece = 1 << 20;
    const size_t size = text.size();
    text.resize(size + kPiece);
    const int got = ::gzread(file_.get(), text.data() + size, kPiece);
    int code = Z_OK;
    const char* reason = ::gzerror(file_.get(), &code);
    // A file cut short gives its last good bytes together with an error.
    if (got < 0 || code != Z_OK) {
      user_error("reading {}: {}; the file is damaged or cut short",
                 path_.string(),
                 code == Z_ERRNO ? std::strerror(errno) : reason);
    }
    text.resize(size + static_cast<size_t>(got));
    return got > 0;
  }

 private:
  fs::path path_;
  std::unique_ptr<gzFile_s, decltype(&::gzclose_r)> file_;
};

// The "text" of one line of .jsonl.
std::string text_of_line(std::string_view line, const fs::path& path,
                         int64_t number) {
  const auto refuse = [&](std::string_view found) {
    user_error(
        "reading {} line {}: found {}, expected an object with a "
        "string in its field \"text\"",
        path.string(), number, found);
  };
  if (is_too_deep(line)) refuse("values that are nested too deeply");
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) refuse("no valid JSON");
  if (!json.is_object()) refuse(fmt::format("{}", json.type_name()));
  const auto text = json.find("text");
  if (text == json.end()) refuse("no such field");
  if (!text->is_string()) {
    refuse(fmt::format("{} in it", text->type_name()));
  }
  return std::move(text->get_ref<std::string&>());
}

void for_each_line(const fs::path& path,
                   const std::function<void(std::string_view)>& use) {
  TextReader reader(path);
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

}  // namespace

std::vector<fs::path> find_text_files(const std::vector<std::string>& inputs) {
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  const auto add = [&](const fs::path& file) {
    if (seen.insert(fs::weakly_canonical(file)).second) files.push_back(file);
  };
  for (const std::string& input : inputs) {
    for (const fs::path& path : paths_of(input)) {
      if (fs::is_directory(path)) {
        std::ranges::for_each(files_in_folder(path), add);
      } else if (has_text_suffix(path)) {
        add(path);
      } else {
        user_error(
            "reading text from {}: expected a .txt, .txt.gz, .jsonl or "
            ".jsonl.gz file",
            path.string());
      }
    }
  }
  return files;
}

std::string_view text_kind(const fs::path& path) {
  return is_jsonl(path) ? "jsonl" : "txt";
}

void for_each_document(const fs::path& path,
                       const std::function<void(std::string_view)>& use) {
  if (is_jsonl(path)) {
    int64_t number = 0;
    for_each_line(path, [&](std::string_view line) {
      ++number;
      if (line.find_first_not_of(" \t\r") == line.npos) return;
      use(text_of_line(line, path, number));
    });
  } else if (is_gzip(path)) {
    TextReader reader(path);
    std::string text;
    while (reader.append_to(text)) {
    }
    use(text);
  } else {
    use(read_file(path));
  }
}

}  // namespace annuli::data
