#include "annuli/data/text_files.h"

#include <fmt/ranges.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "annuli/core/error.h"
#include "annuli/data/text_format.h"

namespace annuli::data {
namespace {

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

// About the data, not of it.
bool is_readme(const fs::path& path) {
  constexpr std::array kNames = {"readme.txt", "license.txt", "licence.txt",
                                 "copying.txt", "notice.txt"};
  const std::string name = lower_case(path.filename().string());
  return std::ranges::find(kNames, name) != kNames.end();
}

// What folders hold.
class Folders {
 public:
  std::vector<fs::path> files_in(const fs::path& folder) {
    PassedOver here;
    std::vector<fs::path> files = walk(folder, here);
    // Where there is nothing else they are the text.
    if (files.empty()) files.swap(here.readmes);
    if (files.empty()) {
      user_error(
          "reading text from {}: found no file that is read ({}) in it; it "
          "holds {}",
          folder.string(), kTextSuffixes, here.list());
    }
    std::ranges::sort(files);
    read_ += files.size();
    passed_over_.add(here);
    return files;
  }

  void describe(TextNotes& notes) const {
    const size_t passed_over = passed_over_.total();
    if (passed_over == 0) return;
    notes.add_line(fmt::format("{} of {} files are read; passed over: {}",
                               read_, read_ + passed_over,
                               passed_over_.list(/*with_hidden=*/false)));
  }

 private:
  struct PassedOver {
    std::map<std::string, size_t> kinds;  // ".csv", "without a suffix", ...
    std::vector<fs::path> readmes;
    size_t hidden = 0;

    size_t total() const {
      size_t sum = readmes.size();
      for (const auto& [kind, count] : kinds) sum += count;
      return sum;
    }
    void add(const PassedOver& other) {
      for (const auto& [kind, count] : other.kinds) kinds[kind] += count;
      readmes.insert(readmes.end(), other.readmes.begin(), other.readmes.end());
    }
    // The most frequent kinds first, and only so many: in names such as
    // part.00001 each suffix is another.
    std::vector<std::string> frequent_kinds() const {
      constexpr size_t kMost = 8;
      std::vector<std::pair<std::string, size_t>> sorted(kinds.begin(),
                                                         kinds.end());
      std::ranges::stable_sort(sorted, std::greater(),
                               [](const auto& kind) { return kind.second; });
      std::vector<std::string> parts;
      size_t others = 0;
      for (size_t i = 0; i < sorted.size(); ++i) {
        const auto& [kind, count] = sorted[i];
        if (i < kMost) {
          parts.push_back(fmt::format("{} {}", count, kind));
        } else {
          others += count;
        }
      }
      if (others > 0) {
        parts.push_back(
            fmt::format("{} of {} other kinds", others, sorted.size() - kMost));
      }
      return parts;
    }
    std::string list(bool with_hidden = true) const {
      std::vector<std::string> parts = frequent_kinds();
      if (!readmes.empty()) {
        parts.push_back(readmes.front().filename().string());
        if (readmes.size() > 1) {
          parts.back() += fmt::format(" and {} like it", readmes.size() - 1);
        }
      }
      if (with_hidden && hidden > 0) {
        parts.push_back(fmt::format("{} hidden", hidden));
      }
      return parts.empty() ? "nothing"
                           : fmt::format("{}", fmt::join(parts, ", "));
    }
  };

  static std::vector<fs::path> walk(const fs::path& folder, PassedOver& here) {
    std::vector<fs::path> files;
    std::error_code error;
    fs::recursive_directory_iterator entry(folder, error);
    for (; !error && entry != fs::recursive_directory_iterator();
         entry.increment(error)) {
      const fs::path& path = entry->path();
      if (is_hidden(path)) {
        ++here.hidden;
        if (is_folder(*entry)) entry.disable_recursion_pending();
      } else if (const std::string other = other_than_text(*entry);
                 !other.empty()) {
        ++here.kinds[other];
      } else if (!is_folder(*entry)) {
        (is_readme(path) ? here.readmes : files).push_back(path);
      }
    }
    if (error) {
      user_error("reading text from {}: {}", folder.string(), error.message());
    }
    return files;
  }

  static bool is_folder(const fs::directory_entry& entry) {
    std::error_code error;
    return entry.is_directory(error);
  }

  // Why it is passed over; empty for text, and for folders that are entered.
  static std::string other_than_text(const fs::directory_entry& entry) {
    std::error_code error;
    if (is_folder(entry)) {
      return entry.is_symlink(error) ? "linked folder" : "";
    }
    if (!entry.is_regular_file(error)) {
      return entry.is_symlink(error) ? "broken link" : "special file";
    }
    if (is_read_in_folders(entry.path())) return "";
    const std::string suffix = suffix_of(entry.path());
    return suffix.empty() ? "without a suffix" : suffix;
  }

  size_t read_ = 0;
  PassedOver passed_over_;
};

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

}  // namespace

std::vector<fs::path> find_text_files(const std::vector<std::string>& inputs,
                                      TextNotes& notes) {
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  Folders folders;
  const auto add = [&](const fs::path& file) {
    if (seen.insert(fs::weakly_canonical(file)).second) files.push_back(file);
  };
  for (const std::string& input : inputs) {
    for (const fs::path& path : paths_of(input)) {
      if (fs::is_directory(path)) {
        std::ranges::for_each(folders.files_in(path), add);
      } else {
        add(path);
      }
    }
  }
  folders.describe(notes);
  return files;
}

}  // namespace annuli::data
