#include "annuli/data/text_input.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

class TextInputTest : public DataTest {
 protected:
  fs::path write_gzip(const std::string& name, std::string_view content) {
    const fs::path path = folder_ / name;
    gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    gzclose(file);
    return path;
  }

  static std::vector<std::string> documents(const fs::path& path) {
    std::vector<std::string> found;
    for_each_document(path,
                      [&](std::string_view text) { found.emplace_back(text); });
    return found;
  }

  static auto refused(const std::string& reason) {
    return ThrowsMessage<UserError>(
        AllOf(HasSubstr(reason), Not(HasSubstr("\n"))));
  }

  std::string in(const std::string& name) const {
    return (folder_ / name).string();
  }
};

TEST_F(TextInputTest, FindsFilesFoldersAndGlobs) {
  for (const char* name :
       {"b.txt", "a.txt.gz", "sub/c.jsonl", "sub/.hidden.txt", ".git/d.txt",
        "sub/deep/e.jsonl.gz", "notes.md"}) {
    write(name, "x");
  }
  EXPECT_THAT(find_text_files({folder_.string()}),
              ElementsAre(in("a.txt.gz"), in("b.txt"), in("sub/c.jsonl"),
                          in("sub/deep/e.jsonl.gz")));
  EXPECT_THAT(find_text_files({in("b.txt"), in("*.txt*")}),
              ElementsAre(in("b.txt"), in("a.txt.gz")));
  EXPECT_THAT(find_text_files({in("s*")}),
              ElementsAre(in("sub/c.jsonl"), in("sub/deep/e.jsonl.gz")));
  // The same file by two names.
  EXPECT_THAT(find_text_files({in("b.txt"), in("sub/../b.txt")}),
              ElementsAre(in("b.txt")));
}

TEST_F(TextInputTest, InputsThatNameNoTextAreErrors) {
  write("notes.md", "x");
  fs::create_directories(folder_ / "empty");
  EXPECT_THAT([&] { find_text_files({in("gone.txt")}); },
              refused("no such file or folder"));
  EXPECT_THAT([&] { find_text_files({in("*.txt")}); },
              refused("no file matches"));
  EXPECT_THAT([&] { find_text_files({in("empty")}); }, refused("found no"));
  EXPECT_THAT([&] { find_text_files({in("notes.md")}); },
              refused("notes.md: expected a .txt"));
}

TEST_F(TextInputTest, TextFilesAreOneDocumentByteForByte) {
  const std::string text("line\r\n\n\xff\0tail", 12);
  EXPECT_THAT(documents(write("a.txt", text)), ElementsAre(text));
  EXPECT_THAT(documents(write_gzip("b.txt.gz", text)), ElementsAre(text));
  // Plain text that happens to begin as gzip does.
  EXPECT_THAT(documents(write("c.txt", "\x1f\x8b\x08 x")),
              ElementsAre("\x1f\x8b\x08 x"));
  const std::string large(3'000'000, 'y');
  EXPECT_THAT(documents(write_gzip("large.txt.gz", large)), ElementsAre(large));
}

TEST_F(TextInputTest, JsonLinesGiveTheirTexts) {
  const std::string lines =
      "{\"text\": \"one\\ntwo\", \"id\": 1}\r\n"
      "\n  \n"
      "{\"text\": \"\"}\n"
      "{\"meta\": {\"text\": \"no\"}, \"text\": \"\\u00e9\"}";
  EXPECT_THAT(documents(write("a.jsonl", lines)),
              ElementsAre("one\ntwo", "", "\xc3\xa9"));
  EXPECT_THAT(documents(write_gzip("b.jsonl.gz", lines + "\n")),
              ElementsAre("one\ntwo", "", "\xc3\xa9"));
  EXPECT_THAT(documents(write("empty.jsonl", "")), ElementsAre());
}

TEST_F(TextInputTest, LinesMayBeLongerThanOneRead) {
  const std::string large(2'500'000, 'z');
  const std::string line = "{\"text\": \"" + large + "\"}\n";
  EXPECT_THAT(documents(write("a.jsonl", line + line)),
              ElementsAre(large, large));
}

TEST_F(TextInputTest, JsonErrorsNameFileAndLine) {
  const auto reading = [&](const std::string& line) {
    write("a.jsonl", "{\"text\": \"fine\"}\n\n" + line + "\n");
    return [this] { documents(folder_ / "a.jsonl"); };
  };
  const std::string place = in("a.jsonl") + " line 3: ";
  EXPECT_THAT(reading("{\"text\": "), refused(place + "found no valid JSON"));
  EXPECT_THAT(reading("{\"text\": \"\xff\"}"),
              refused(place + "found no valid"));
  EXPECT_THAT(reading("{\"txt\": \"x\"}"),
              refused(place + "found no such field"));
  EXPECT_THAT(reading("{\"text\": 1}"), refused(place + "found number in it"));
  EXPECT_THAT(reading("[1]"), refused(place + "found array"));
  EXPECT_THAT(reading(std::string(200'000, '[')),
              refused(place + "found values that are nested too deeply"));
}

TEST_F(TextInputTest, DamagedGzipIsAnError) {
  std::string noise;
  for (unsigned i = 0; i < 300'000; ++i) noise += char((i * 2654435761u) >> 24);
  const fs::path path = write_gzip("a.txt.gz", noise);
  ASSERT_EQ(documents(path).front(), noise);
  std::string bytes = read_file(path);
  std::string flipped = bytes;
  flipped[flipped.size() / 2] ^= 1;
  write("flipped.txt.gz", flipped);
  EXPECT_THAT([&] { documents(folder_ / "flipped.txt.gz"); },
              refused("damaged"));
  for (size_t size : {bytes.size() - 1, bytes.size() / 2, size_t{12}}) {
    write("cut.txt.gz", bytes.substr(0, size));
    EXPECT_THAT([&] { documents(folder_ / "cut.txt.gz"); },
                refused("damaged or cut short"))
        << size;
  }
  write("plain.txt.gz", "plain");
  EXPECT_THAT([&] { documents(folder_ / "plain.txt.gz"); },
              refused("found no gzip data"));
}

}  // namespace
}  // namespace annuli::data
