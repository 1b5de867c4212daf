// Token for token and byte for byte against the own library of each vocabulary:
// every case that own_libraries.py wrote into ANNULI_OWN_LIBRARIES.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/tokenizer.h"
#include "tests/parity/tokenizer/reference_ids.h"

namespace annuli {
namespace {

const fs::path kReference = ANNULI_OWN_LIBRARIES;

void check_text(const Tokenizer& tokenizer, const Json& one,
                const std::string& name) {
  SCOPED_TRACE(one["name"].get<std::string>() + ", " + name);
  const fs::path place = one["name"].get<std::string>();
  const auto theirs = read_ids(kReference / "ids" / place / (name + ".i32"));
  const auto ours = tokenizer.encode(read_file(kReference / "texts" / name),
                                     {one["allow_special"].get<bool>()});
  const auto differs =
      std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end());
  EXPECT_TRUE(ours == theirs)
      << "token " << differs.first - ours.begin() << " of " << ours.size()
      << " and " << theirs.size();
  const std::string text = read_file(kReference / "decoded" / place / name);
  EXPECT_TRUE(tokenizer.decode(theirs) == text);
  EXPECT_TRUE(streamed(tokenizer, theirs) == text);
}

TEST(OwnLibraries, EveryIdAndTheTextOfEveryCase) {
  const Json manifest = read_json(kReference / "manifest.json");
  ASSERT_GE(manifest.size(), 30u);
  for (const Json& one : manifest) {
    const auto tokenizer = load_tokenizer(one["tokenizer"].get<std::string>());
    EXPECT_EQ(tokenizer->vocab_size(), one["vocab_size"].get<int64_t>());
    for (const std::string name : one["texts"]) {
      check_text(*tokenizer, one, name);
    }
  }
}

// The comparison can fail: one model's ids are not another's.
TEST(OwnLibraries, ControlAnotherModelDiffers) {
  const auto tokenizer =
      load_tokenizer(kReference / "models/unigram_nmt.model");
  EXPECT_NE(tokenizer->encode(read_file(kReference / "texts/scripts")),
            read_ids(kReference / "ids/unigram_folded/scripts.i32"));
}

}  // namespace
}  // namespace annuli
