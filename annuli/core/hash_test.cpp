#include "annuli/core/hash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

// Known answers of FIPS 180-4.
TEST(Hash, MatchesKnownAnswers) {
  EXPECT_EQ(sha256_of(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, PiecesAndFilesEqualTheWhole) {
  std::string text(3'000'000, 'a');
  text[1'234'567] = 'b';
  Sha256 hash;
  hash.update(text.data(), 1000);
  hash.update(text.data() + 1000, text.size() - 1000);
  EXPECT_EQ(hash.hex(), sha256_of(text));
  EXPECT_THROW(hash.hex(), CheckFailure);

  const test::TestFolder folder;
  const fs::path path = folder / "x";
  write_file_atomically(path, text);
  EXPECT_EQ(sha256_of_file(path), sha256_of(text));
  fs::remove(path);
  EXPECT_THAT(
      [&] { sha256_of_file(path); },
      testing::ThrowsMessage<UserError>(testing::HasSubstr("No such file")));
}

}  // namespace
}  // namespace annuli
