#include "annuli/core/file_lock.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

class FileLockTest : public testing::Test {
 protected:
  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST_F(FileLockTest, OneHoldsIt) {
  std::optional<FileLock> first = FileLock::try_lock(folder_);
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(FileLock::try_lock(folder_).has_value());
  first.reset();
  EXPECT_TRUE(FileLock::try_lock(folder_).has_value());
}

TEST_F(FileLockTest, AFileIsMadeForIt) {
  const fs::path file = folder_ / ".lock";
  const std::optional<FileLock> first = FileLock::try_lock_file(file);
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(fs::exists(file));
  EXPECT_FALSE(FileLock::try_lock_file(file).has_value());
  EXPECT_FALSE(FileLock::try_lock(file).has_value());
  EXPECT_THROW(FileLock::try_lock_file(folder_ / "none" / ".lock"), UserError);
}

TEST_F(FileLockTest, ItMovesWithTheObject) {
  std::optional<FileLock> first = FileLock::try_lock(folder_);
  {
    const FileLock second = std::move(*first);
    first.reset();
    EXPECT_FALSE(FileLock::try_lock(folder_).has_value());
  }
  EXPECT_TRUE(FileLock::try_lock(folder_).has_value());
}

TEST_F(FileLockTest, WhatIsNotThereCannotBeLocked) {
  EXPECT_THROW(FileLock(folder_ / "none"), UserError);
  EXPECT_THROW(FileLock::try_lock(folder_ / "none"), UserError);
}

}  // namespace
}  // namespace annuli
