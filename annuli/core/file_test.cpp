#include "annuli/core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class File : public testing::Test {
 protected:
  size_t files_in_folder() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), {}));
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST_F(File, WritesAndReadsBack) {
  std::string content(100'000, 'x');
  content[5] = '\0';
  write_file_atomically(folder_ / "a", content);
  EXPECT_EQ(read_file(folder_ / "a"), content);
  write_file_atomically(folder_ / "a", "");
  EXPECT_EQ(read_file(folder_ / "a"), "");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(File, ReadsFilesThatDoNotKnowTheirSize) {
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("VmRSS"));
}

TEST_F(File, UncommittedWriterLeavesNothing) {
  write_file_atomically(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write("new");
    EXPECT_EQ(file.position(), 3);
    EXPECT_EQ(files_in_folder(), 2u);
  }
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(File, MovedWriterCommitsOnce) {
  AtomicFile first(folder_ / "a");
  first.write("one ");
  AtomicFile second(std::move(first));
  second.write("two");
  second.commit();
  EXPECT_EQ(read_file(folder_ / "a"), "one two");
  EXPECT_THROW(second.write("three"), CheckFailure);
  EXPECT_THROW(second.commit(), CheckFailure);
}

TEST_F(File, OverwritesOnlyWhatIsWritten) {
  AtomicFile file(folder_ / "a");
  file.write("....body");
  file.overwrite(0, "head", 4);
  EXPECT_THROW(file.overwrite(5, "body", 4), CheckFailure);
  file.write("!");
  file.commit();
  EXPECT_EQ(read_file(folder_ / "a"), "headbody!");
}

TEST_F(File, FailuresNameThePathAndTheReason) {
  const fs::path missing = folder_ / "missing" / "a";
  EXPECT_THAT(
      [&] { read_file(missing); },
      ThrowsMessage<UserError>(HasSubstr(missing.string() + ": No such file")));
  EXPECT_THAT(
      [&] { write_file_atomically(missing, ""); },
      ThrowsMessage<UserError>(HasSubstr(missing.string() + ": No such file")));
  EXPECT_THAT([&] { MappedFile file(missing); },
              ThrowsMessage<UserError>(HasSubstr("No such file")));
  EXPECT_THAT([&] { read_file(folder_); },
              ThrowsMessage<UserError>(HasSubstr("expected a file")));
}

TEST_F(File, FailedCommitRemovesTheTemporary) {
  fs::create_directories(folder_ / "a" / "full");
  EXPECT_THROW(write_file_atomically(folder_ / "a", "x"), UserError);
  EXPECT_EQ(files_in_folder(), 1u);
}

// A killed writer's file goes, that of a writer at work stays.
TEST_F(File, TemporariesOfTheDeadAreRemoved) {
  std::ofstream(folder_ / "a.tmp-1-0") << "half";
  const std::vector<std::string> others = {"notes.tmp-1",   "a.tmp-x-0",
                                           "a.tmp-1-0.txt", ".tmp-1-0",
                                           "a.tmp--0",      "a-1-0"};
  for (const std::string& name : others) std::ofstream(folder_ / name) << "x";
  std::ofstream(folder_ / "whole") << "whole";
  AtomicFile at_work(folder_ / "b");
  at_work.write("half");
  remove_temporaries(folder_);
  EXPECT_FALSE(fs::exists(folder_ / "a.tmp-1-0"));
  EXPECT_EQ(files_in_folder(), others.size() + 2);
  for (const std::string& name : others) {
    EXPECT_TRUE(fs::remove(folder_ / name)) << name;
  }
  at_work.write(", whole");
  at_work.commit();
  EXPECT_EQ(read_file(folder_ / "b"), "half, whole");
  EXPECT_EQ(read_file(folder_ / "whole"), "whole");
  EXPECT_EQ(files_in_folder(), 2u);
  remove_temporaries(folder_ / "missing");
}

TEST_F(File, MapsWholeFiles) {
  write_file_atomically(folder_ / "a", "abc");
  write_file_atomically(folder_ / "empty", "");
  const MappedFile file(folder_ / "a");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(file.bytes()[2], std::byte{'c'});
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  file.drop_resident();
  EXPECT_EQ(file.bytes()[2], std::byte{'c'});
  // The mapping keeps the old content when the file is replaced.
  write_file_atomically(folder_ / "a", "xyz");
  EXPECT_EQ(file.bytes()[2], std::byte{'c'});
}

}  // namespace
}  // namespace annuli
