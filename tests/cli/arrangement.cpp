#include "arrangement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "annuli/core/file.h"

namespace annuli::test {
namespace {

using Contents = std::map<std::string, std::string>;

bool is_below(const std::string& path, const std::string& top) {
  return path == top || path.starts_with(top + "/");
}

Contents below(const Contents& contents, const std::string& top) {
  Contents part;
  for (const auto& [path, bytes] : contents) {
    if (is_below(path, top)) part[path] = bytes;
  }
  return part;
}

// Their names: the bytes would fill the screen.
std::string differences(const Contents& a, const Contents& b) {
  std::string names;
  for (const auto& [path, bytes] : a) {
    const auto found = b.find(path);
    if (found == b.end() || found->second != bytes) names += path + " ";
  }
  for (const auto& [path, bytes] : b) {
    if (!a.contains(path)) names += "+" + path + " ";
  }
  return names;
}

}  // namespace

Contents contents_of(const fs::path& folder) {
  Contents contents;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    const std::string path = fs::relative(item.path(), folder).string();
    if (item.path().filename() == ".lock") continue;
    contents[path] = item.is_symlink() ? fs::read_symlink(item.path()).string()
                     : item.is_directory() ? ""
                                           : read_file(item.path());
  }
  return contents;
}

void expect_safe(const Arrangement& arrangement, const fs::path& base) {
  SCOPED_TRACE(arrangement.name);
  const ScratchFolder scratch;
  const fs::path folder = scratch.path() / "w";
  fs::copy(base, folder,
           fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  if (arrangement.prepare) arrangement.prepare(folder);
  std::vector<std::string> words = arrangement.words;
  for (std::string& word : words) {
    for (size_t at = word.find('@'); at != word.npos; at = word.find('@')) {
      word.replace(at, 1, folder.string() + "/");
    }
  }
  const Contents before = contents_of(folder);
  const Outcome outcome = run_program(words, scratch.path());
  const Contents after = contents_of(folder);
  if (!arrangement.refusal.empty()) {
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, ::testing::HasSubstr(arrangement.refusal));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_EQ(differences(before, after), "");
    return;
  }
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const std::vector<std::string> kept = arrangement.kept.empty()
                                            ? std::vector<std::string>{"parent"}
                                            : arrangement.kept;
  for (const std::string& top : kept) {
    EXPECT_FALSE(below(before, top).empty()) << top;
    for (const auto& [path, bytes] : below(before, top)) {
      const auto found = after.find(path);
      EXPECT_TRUE(found != after.end() && found->second == bytes) << path;
    }
  }
}

}  // namespace annuli::test
