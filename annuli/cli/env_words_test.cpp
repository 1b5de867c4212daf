#include "annuli/cli/env_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace annuli::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(EnvWords, ClaimNoInstructionsThatTheProcessorLacks) {
  EXPECT_THAT(mkl_dispatch_words(true, true), HasSubstr("AVX-512"));
  EXPECT_THAT(mkl_dispatch_words(true, false), HasSubstr("AVX2"));
  EXPECT_THAT(mkl_dispatch_words(true, false), Not(HasSubstr("AVX-512")));
  EXPECT_THAT(mkl_dispatch_words(false, true), Not(HasSubstr("AVX")));
}

}  // namespace
}  // namespace annuli::cli
