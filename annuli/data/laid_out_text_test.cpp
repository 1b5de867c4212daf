#include "annuli/data/laid_out_text.h"

#include <gmock/gmock.h>

#include "annuli/core/error.h"
#include "annuli/data/loader.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

using testing::ElementsAre;

// In these files id and position are the same.
class LaidOutTextTest : public DataTest {
 protected:
  static std::vector<int64_t> tokens(const LaidOutText& text, int64_t position,
                                     size_t count) {
    std::vector<int64_t> out(count);
    text.read(position, out);
    return out;
  }
  static std::vector<int64_t> documents(const LaidOutText& text,
                                        int64_t position, size_t count) {
    std::vector<int64_t> out(count, -1);
    text.read_documents(position, out);
    return out;
  }
};

// Documents 0-1, 2-6, 7, 8-9; the second is held out. The two last lie
// together.
TEST_F(LaidOutTextTest, ReadsTokensAndWhereTheirDocumentsBegin) {
  const TokenFile file(write_counting({2, 5, 1, 2}));
  const LaidOutText text(file, {{0, 2}, {7, 10}});
  EXPECT_EQ(text.token_count(), 5);
  EXPECT_THAT(tokens(text, 0, 5), ElementsAre(0, 1, 7, 8, 9));
  EXPECT_THAT(documents(text, 0, 5), ElementsAre(0, 0, 2, 3, 3));
  // One that has begun before is counted from the first token read.
  EXPECT_THAT(tokens(text, 1, 3), ElementsAre(1, 7, 8));
  EXPECT_THAT(documents(text, 1, 3), ElementsAre(0, 1, 2));
}

TEST_F(LaidOutTextTest, AfterTheEndComesTheBeginning) {
  const TokenFile file(write_counting({2, 5, 1, 2}));
  const LaidOutText text(file, {{0, 2}, {7, 10}});
  EXPECT_THAT(tokens(text, 3, 7), ElementsAre(8, 9, 0, 1, 7, 8, 9));
  EXPECT_THAT(documents(text, 3, 7), ElementsAre(0, 0, 2, 2, 4, 5, 5));
  EXPECT_THAT(tokens(text, 4, 3), ElementsAre(9, 0, 1));
  EXPECT_THAT(documents(text, 4, 3), ElementsAre(0, 1, 1));
  EXPECT_THROW(tokens(text, 5, 1), CheckFailure);
}

// A text of one document is cut in two: its tail is held out.
TEST_F(LaidOutTextTest, APartOfADocumentIsADocument) {
  const TokenFile file(write_counting({10}));
  EXPECT_THAT(documents(LaidOutText(file, {{6, 10}}), 1, 3),
              ElementsAre(0, 0, 0));
  EXPECT_THAT(documents(LaidOutText(file, {{6, 10}}), 3, 3),
              ElementsAre(0, 1, 1));
}

TEST_F(LaidOutTextTest, BordersAreTheTablesAndNotGuessedFromIds) {
  // The same id everywhere: nothing but the table tells documents apart.
  const TokenFile file(write_tokens({{5, 5, 5}, {5}, {5, 5}}, 6));
  const Loader loader({{LaidOutText(file, {{0, 6}})}},
                      {.length = 5, .documents = true}, 1, "train");
  const Batch window = loader.fixed_windows(1);
  EXPECT_THAT(window.tokens, ElementsAre(5, 5, 5, 5, 5));
  EXPECT_THAT(window.documents, ElementsAre(0, 0, 0, 3, 4));
  EXPECT_TRUE(
      Loader(file, {{0, 6}}, 5, 1, "train").fixed_windows(1).documents.empty());
  // Rows take theirs along.
  Batch two = window;
  two.append(window);
  EXPECT_EQ(two.batch_size, 2);
  EXPECT_EQ(two.rows(1, 1).documents, window.documents);
}

}  // namespace
}  // namespace annuli::data
