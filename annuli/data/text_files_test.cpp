#include "annuli/data/text_files.h"

#include <gmock/gmock.h>

#include "annuli/data/text_for_tests.h"

namespace annuli::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class TextFilesTest : public TextTest {
 protected:
  std::vector<fs::path> find(const std::vector<std::string>& inputs) {
    notes_ = {};
    return find_text_files(inputs, notes_);
  }
  std::vector<fs::path> find_all() { return find({folder_.string()}); }
  void write_all(const std::vector<const char*>& names) {
    for (const char* name : names) write(name, "x");
  }
};

TEST_F(TextFilesTest, FindsFilesFoldersAndGlobs) {
  write_all({"b.txt", "a.txt.gz", "sub/c.jsonl", "sub/.hidden.txt",
             ".git/d.txt", "sub/deep/e.jsonl.gz"});
  EXPECT_THAT(find_all(),
              ElementsAre(in("a.txt.gz"), in("b.txt"), in("sub/c.jsonl"),
                          in("sub/deep/e.jsonl.gz")));
  EXPECT_THAT(notes_.lines(), IsEmpty());
  EXPECT_THAT(find({in("b.txt"), in("*.txt*")}),
              ElementsAre(in("b.txt"), in("a.txt.gz")));
  EXPECT_THAT(find({in("s*")}),
              ElementsAre(in("sub/c.jsonl"), in("sub/deep/e.jsonl.gz")));
  // The same file by two names.
  EXPECT_THAT(find({in("b.txt"), in("sub/../b.txt")}),
              ElementsAre(in("b.txt")));
}

TEST_F(TextFilesTest, SuffixesAreComparedWithoutRegardToCase) {
  write_all({"A.TXT", "b.Jsonl.GZ", "c.ndjson", "d.NDJSON.zst", "e.parquet",
             "f.txt.zstd"});
  EXPECT_EQ(find_all().size(), 6);
  EXPECT_THAT(notes_.lines(), IsEmpty());
}

TEST_F(TextFilesTest, WhatIsPassedOverIsCountedBySuffix) {
  write_all({"a.txt", "b.csv", "c.CSV", "d.csv.gz", "e.json", "f", "README.txt",
             "sub/notes.md", ".hidden", "g.parquet.gz"});
  fs::create_directory_symlink(folder_ / "sub", folder_ / "loop");
  fs::create_symlink(folder_ / "gone.txt", folder_ / "h.txt");
  EXPECT_THAT(find_all(), ElementsAre(in("a.txt")));
  EXPECT_THAT(
      notes_.lines(),
      ElementsAre("data: 1 of 11 files are read; passed over: 2 .csv, 1 "
                  ".csv.gz, 1 .json, 1 .md, 1 .parquet.gz, 1 broken link, 1 "
                  "linked folder, 1 without a suffix, README.txt"));
}

TEST_F(TextFilesTest, KindsBeyondTheEighthAreOneNumber) {
  write_all({"a.txt", "b.csv", "c.csv"});
  for (int i = 0; i < 20; ++i) write(fmt::format("part.{:03}", i), "x");
  find_all();
  EXPECT_THAT(notes_.lines(),
              ElementsAre(AllOf(HasSubstr("passed over: 2 .csv, 1 .000, "),
                                HasSubstr(", 13 of 13 other kinds"))));
}

TEST_F(TextFilesTest, FoldersThatLeadBackToThemselvesAreNotEntered) {
  write_all({"sub/a.txt"});
  fs::create_directory_symlink(folder_, folder_ / "sub" / "up");
  EXPECT_THAT(find_all(), ElementsAre(in("sub/a.txt")));
  EXPECT_THAT(notes_.lines(), ElementsAre(HasSubstr("1 linked folder")));
}

TEST_F(TextFilesTest, ReadmesAreTextWhereThereIsNoOther) {
  write_all({"README.txt", "license.txt"});
  EXPECT_THAT(find_all(), ElementsAre(in("README.txt"), in("license.txt")));
  write_all({"book.txt"});
  EXPECT_THAT(find_all(), ElementsAre(in("book.txt")));
  EXPECT_THAT(notes_.lines(), ElementsAre(HasSubstr("and 1 like it")));
  EXPECT_THAT(find({in("README.txt")}), ElementsAre(in("README.txt")));
}

TEST_F(TextFilesTest, InputsThatNameNoTextAreErrors) {
  fs::create_directories(folder_ / "empty");
  write_all({"tables/a.csv", "tables/b.csv", "hidden/.a.txt", "hidden/.b"});
  EXPECT_THAT([&] { find({in("gone.txt")}); },
              refused("no such file or folder"));
  EXPECT_THAT([&] { find({in("*.txt")}); }, refused("no file matches"));
  EXPECT_THAT([&] { find({in("empty")}); }, refused("it holds nothing"));
  EXPECT_THAT([&] { find({in("tables")}); }, refused("it holds 2 .csv"));
  EXPECT_THAT([&] { find({in("hidden")}); }, refused("it holds 2 hidden"));
}

}  // namespace
}  // namespace annuli::data
