#include "annuli/core/lock_holder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

namespace annuli {
namespace {

TEST(LockHolder, IsWhoHasLockedTheFileAndOnlyAsLong) {
  char path[] = "/tmp/annuli-lock.XXXXXX";
  const int file = ::mkstemp(path);
  ASSERT_GE(file, 0);
  EXPECT_EQ(lock_holder(path), std::nullopt);
  ASSERT_EQ(::flock(file, LOCK_EX), 0);
  EXPECT_EQ(lock_holder(path), ::getpid());
  EXPECT_EQ(lock_holder("/proc/self/exe"), std::nullopt);
  ::flock(file, LOCK_UN);
  EXPECT_EQ(lock_holder(path), std::nullopt);
  ::close(file);
  ::unlink(path);
  EXPECT_EQ(lock_holder(path), std::nullopt);
}

}  // namespace
}  // namespace annuli
