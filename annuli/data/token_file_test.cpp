#include "annuli/data/token_file.h"

#include <gmock/gmock.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

class TokenFileTest : public DataTest {
 protected:
  // Writes a sound file, lets `damage` change its bytes, and expects that
  // opening it fails with `reason`, in one line that names the file.
  void expect_refused(const std::function<void(std::string&)>& damage,
                      const std::string& reason) {
    const fs::path path = write_tokens({{1, 2, 3}, {4, 99}}, 100);
    ASSERT_NO_THROW(TokenFile{path});
    std::string bytes = read_file(path);
    ASSERT_EQ(bytes.size(), 256u + 16 + 2 * 16);
    damage(bytes);
    write_file_atomically(path, bytes);
    EXPECT_THAT([&] { TokenFile file(path); },
                ThrowsMessage<UserError>(AllOf(HasSubstr(reason),
                                               HasSubstr(path.string()),
                                               Not(HasSubstr("\n")))));
  }

  template <typename T>
  void expect_refused_with(size_t offset, T value, const std::string& reason) {
    expect_refused(
        [&](std::string& bytes) {
          std::memcpy(bytes.data() + offset, &value, sizeof(value));
        },
        reason);
  }
};

TEST_F(TokenFileTest, KeepsTokensDocumentsAndOrigin) {
  for (int32_t vocab_size : {65536, 65537}) {
    const int32_t last = vocab_size - 1;
    const TokenFile file(write_tokens({{0, last, 7}, {5}}, vocab_size));
    EXPECT_EQ(file.vocab_size(), vocab_size);
    EXPECT_EQ(file.tokenizer_hash(), sha256_of("tok"));
    EXPECT_EQ(file.inputs_hash(), sha256_of("in"));
    EXPECT_EQ(file.token_count(), 4);
    EXPECT_EQ(file.document_count(), 2);
    EXPECT_EQ(file.document(0), (TokenRange{0, 3}));
    EXPECT_EQ(file.document(1), (TokenRange{3, 4}));
    EXPECT_EQ(file.document_bytes(0), 9);
    EXPECT_EQ(file.document_bytes(1), 3);
    EXPECT_EQ(file.text_bytes(), 12);
    std::vector<int64_t> ids(4);
    file.read(0, ids);
    EXPECT_THAT(ids, testing::ElementsAre(0, last, 7, 5));
    file.read(3, std::span(ids).first(1));
    EXPECT_EQ(ids[0], 5);
    EXPECT_THROW(file.read(1, ids), CheckFailure);
    EXPECT_THROW(file.document(2), CheckFailure);
  }
}

TEST_F(TokenFileTest, KeepsWhatStandsAroundDocuments) {
  const fs::path path = folder_ / "borders.tokens";
  const PutBorders borders{{1, 99}, {2}};
  TokenFileWriter writer(path,
                         {100, sha256_of("tok"), sha256_of("in"), borders});
  writer.append(std::vector<int32_t>{1, 99, 5, 2}, 3);
  writer.commit();
  EXPECT_EQ(TokenFile(path).borders(), borders);
  EXPECT_EQ(TokenFile(write_tokens({{1}}, 100)).borders(), std::nullopt);
}

TEST_F(TokenFileTest, RefusesBordersThatCannotBe) {
  expect_refused_with<uint8_t>(168, 2, "tokens around a document");
  expect_refused_with<uint32_t>(168, 1 | 11 << 8 | 10 << 16,
                                "found 21 tokens around a document");
  expect_refused(
      [](std::string& bytes) {
        bytes[168] = bytes[170] = 1;
        bytes[172] = 100;
      },
      "found id 100 around documents");
}

TEST_F(TokenFileTest, StoresTwoBytesWhereTheyHoldTheVocabulary) {
  EXPECT_EQ(fs::file_size(write_tokens({{1, 2, 3, 4}}, 65536)), 256u + 8 + 16);
  EXPECT_EQ(fs::file_size(write_tokens({{1, 2, 3, 4}}, 65537)), 256u + 16 + 16);
}

TEST_F(TokenFileTest, WriterRefusesWhatTheReaderWould) {
  TokenFileWriter writer(folder_ / "a",
                         {10, sha256_of("tok"), sha256_of("in")});
  EXPECT_THROW(writer.append(std::vector<int32_t>{}, 0), CheckFailure);
  EXPECT_THROW(writer.append(std::vector<int32_t>{10}, 0), CheckFailure);
  EXPECT_THROW(writer.append(std::vector<int32_t>{-1}, 0), CheckFailure);
}

TEST_F(TokenFileTest, UnfinishedWriterLeavesNothing) {
  {
    TokenFileWriter writer(folder_ / "a",
                           {10, sha256_of("tok"), sha256_of("in")});
    writer.append(std::vector<int32_t>{1}, 1);
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(TokenFileTest, OtherTokenizersAreRefused) {
  const TokenFile file(write_tokens({{1}}, 100));
  EXPECT_NO_THROW(file.require_tokenizer(100, sha256_of("tok")));
  EXPECT_THAT([&] { file.require_tokenizer(100, sha256_of("other")); },
              ThrowsMessage<UserError>(HasSubstr("expected tokenizer")));
  EXPECT_THROW(file.require_tokenizer(101, sha256_of("tok")), UserError);
}

TEST_F(TokenFileTest, CutAndGrownFilesAreRefused) {
  expect_refused([](std::string& b) { b.clear(); }, "found 0 bytes");
  expect_refused([](std::string& b) { b.resize(255); }, "found 255 bytes");
  expect_refused([](std::string& b) { b.pop_back(); },
                 "found 303 bytes, expected 304");
  expect_refused([](std::string& b) { b.resize(256); }, "too few");
  expect_refused([](std::string& b) { b += '\0'; },
                 "found 305 bytes, expected 304");
}

TEST_F(TokenFileTest, EveryHeaderFieldIsChecked) {
  expect_refused_with<char>(0, 'a', "does not begin as a token file");
  expect_refused_with<uint32_t>(8, 2, "found version 2, expected 1");
  expect_refused_with<uint32_t>(12, 4, "found 4 bytes a token, expected 2");
  expect_refused_with<uint32_t>(12, 0, "found 0 bytes a token");
  expect_refused_with<uint64_t>(16, 0, "found a vocabulary of 0");
  expect_refused_with<uint64_t>(16, uint64_t{1} << 40, "vocabulary of 10995");
  expect_refused_with<uint64_t>(16, 1 << 17, "expected 4 for a vocabulary");
  expect_refused_with<char>(40, 'X', "not SHA-256");
  expect_refused_with<char>(104 + 63, '\0', "not SHA-256");
}

TEST_F(TokenFileTest, CountsThatOverflowAreRefused) {
  for (uint64_t count : {uint64_t{25}, uint64_t{1} << 63,
                         (uint64_t{1} << 63) + 5, ~uint64_t{0}}) {
    expect_refused_with<uint64_t>(24, count, "too few");
  }
  // 16 * (2^60 + 2) = 32 modulo 2^64: the right size, if it wrapped.
  for (uint64_t count : {uint64_t{4}, (uint64_t{1} << 60) + 2, ~uint64_t{0}}) {
    expect_refused_with<uint64_t>(32, count, "too few");
  }
  expect_refused_with<uint64_t>(24, 6, "end at token 5, expected 6");
  expect_refused_with<uint64_t>(32, 1, "found 304 bytes, expected 288");
}

TEST_F(TokenFileTest, DocumentsMustIncrease) {
  constexpr size_t kDocuments = 256 + 16;
  expect_refused_with<uint64_t>(kDocuments, 0, "document 0 ends at token 0");
  expect_refused_with<uint64_t>(kDocuments, 5, "document 1 ends at token 5");
  expect_refused_with<uint64_t>(kDocuments, ~uint64_t{0}, "document 1");
  expect_refused_with<uint64_t>(kDocuments + 16, 4, "end at token 4");
  expect_refused_with<uint64_t>(kDocuments + 16, 6, "end at token 6");
  expect_refused_with<uint64_t>(kDocuments + 8, 16, "document 1 ends");
  expect_refused_with<uint64_t>(kDocuments + 24, ~uint64_t{0}, "document 1");
}

TEST_F(TokenFileTest, IdsOutsideTheVocabularyAreFound) {
  expect_refused_with<uint16_t>(256 + 2 * 4, 100,
                                "found id 100 at token 4, expected ids below "
                                "the vocabulary size 100");
  expect_refused_with<uint16_t>(256, 65535, "found id 65535 at token 0");
}

TEST_F(TokenFileTest, IdsAreCheckedInEverySlice) {
  // Longer than one slice of the scan, and of 4 bytes.
  constexpr int64_t kSlice = int64_t{4} << 20;
  std::vector<int32_t> ids(kSlice + 10, 1);
  const fs::path path = write_tokens({ids}, 70000);
  ASSERT_NO_THROW(TokenFile{path});
  std::string bytes = read_file(path);
  const uint32_t bad = ~uint32_t{0};
  std::memcpy(bytes.data() + 256 + 4 * (kSlice + 3), &bad, 4);
  write_file_atomically(path, bytes);
  EXPECT_THAT([&] { TokenFile file(path); },
              ThrowsMessage<UserError>(
                  HasSubstr("found id 4294967295 at token 4194307")));
}

// Any damage is refused, or leaves a file whose every read is within bounds
// (which the address sanitizer sees) and within the vocabulary.
TEST_F(TokenFileTest, RandomDamageIsRefusedOrHarmless) {
  const fs::path path = write_tokens({{1, 2, 3}, {4, 99}}, 100);
  const std::string sound = read_file(path);
  const CounterRng rng(5, "damage");
  uint64_t draw = 0;
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = sound;
    for (uint64_t n = 1 + rng.below(draw++, 4); n > 0; --n) {
      // Twice as often in the first 40 bytes, where the counts are.
      const uint64_t reach = rng.below(draw++, 2) ? 40 : bytes.size();
      const uint64_t place = rng.below(draw++, reach);
      bytes[place] = static_cast<char>(rng.bits(draw++));
    }
    if (rng.below(draw++, 8) == 0)
      bytes.resize(rng.below(draw++, bytes.size()));
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const TokenFile file(path);
      std::vector<int64_t> ids(static_cast<size_t>(file.token_count()));
      file.read(0, ids);
      for (int64_t id : ids) ASSERT_LT(id, file.vocab_size());
    } catch (const UserError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 2000);
}

}  // namespace
}  // namespace annuli::data
