#include "annuli/core/scratch_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "annuli/core/error.h"

namespace annuli {
namespace {

TEST(ScratchFile, GivesBackWhatWasAppended) {
  ScratchFile file;
  const std::string first = "first";
  const std::string second(100000, 'x');
  EXPECT_EQ(file.append(first.data(), first.size()), 0);
  const int64_t at = file.append(second.data(), second.size());
  EXPECT_EQ(at, 5);
  const ScratchFile moved = std::move(file);
  std::string read(second.size(), 0);
  moved.read(at, read.data(), read.size());
  EXPECT_EQ(read, second);
  read.resize(3);
  moved.read(2, read.data(), read.size());
  EXPECT_EQ(read, "rst");
  EXPECT_THROW(moved.read(at + 1, read.data(), second.size()), UserError);
}

TEST(ScratchFile, AFolderThatIsNotThereIsTheUsers) {
  const char* kept = std::getenv("TMPDIR");
  const std::string before = kept == nullptr ? "" : kept;
  ::setenv("TMPDIR", "/no/such/folder", 1);
  EXPECT_THROW(ScratchFile(), UserError);
  ::setenv("TMPDIR", before.c_str(), 1);
}

}  // namespace
}  // namespace annuli
