#include "annuli/data/text_input.h"

#include <gmock/gmock.h>
#include <zlib.h>
#include <zstd.h>

#include "annuli/core/error.h"
#include "annuli/data/text_for_tests.h"

namespace annuli::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class TextInputTest : public TextTest {
 protected:
  fs::path write_gzip(const std::string& name, std::string_view content) {
    const fs::path path = folder_ / name;
    gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    gzclose(file);
    return path;
  }

  static std::string gzip_of(std::string_view content) {
    z_stream stream = {};
    deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string packed(deflateBound(&stream, content.size()) + 32, '\0');
    stream.next_in =
        reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
  }

  static std::string zstd_of(std::string_view content) {
    std::string packed(ZSTD_compressBound(content.size()), '\0');
    packed.resize(ZSTD_compress(packed.data(), packed.size(), content.data(),
                                content.size(), 3));
    return packed;
  }

  std::vector<std::string> documents(const fs::path& path,
                                     const std::string& column = "text") {
    notes_ = {};
    std::vector<std::string> found;
    for_each_document(path, {.column = column}, notes_,
                      [&](std::string_view text) { found.emplace_back(text); });
    return found;
  }
  std::vector<std::string> documents_of(const std::string& name,
                                        std::string_view content) {
    return documents(write(name, content));
  }
  // Why a file of this name with this content is refused.
  auto reading(const std::string& name, const std::string& content) {
    write(name, content);
    return [this, name] { documents(folder_ / name); };
  }
};

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
  const auto line = [&](const std::string& line) {
    return reading("a.jsonl", "{\"text\": \"fine\"}\n\n" + line + "\n");
  };
  const std::string place = in("a.jsonl") + " line 3: ";
  EXPECT_THAT(line("{\"text\": "), refused(place + "found no valid JSON"));
  EXPECT_THAT(line("# comment"), refused(place + "found no valid JSON"));
  EXPECT_THAT(line("{\"text\": \"\xff\"}"),
              refused(place + "found no valid UTF-8"));
  EXPECT_THAT(line("{\"txt\": 1}"), refused(place + "found no such field"));
  EXPECT_THAT(line("{\"text\": 1}"), refused(place + "found number in it"));
  EXPECT_THAT(line("{\"text\": null}"), refused(place + "found null in it"));
  EXPECT_THAT(line("[1]"), refused(place + "found array"));
  EXPECT_THAT(line(std::string(200'000, '[')),
              refused(place + "found values that are nested too deeply"));
}

TEST_F(TextInputTest, JsonErrorsSayWhatWouldHelp) {
  EXPECT_THAT(reading("a.jsonl", R"({"content": "x", "n": 1, "title": "y"})"),
              refused("--text-column (data.text_column) takes 'content', "
                      "'title'"));
  EXPECT_THAT(reading("a.jsonl", R"({"messages": [{"content": "x"}]})"),
              refused("('messages') none holds text for --text-column"));
  EXPECT_THAT(reading("a.jsonl", R"([{"text": "x"}])"), refused("jq -c '.[]'"));
  EXPECT_THAT(reading("a.jsonl", "[\n {\"text\": \"x\"}\n]\n"),
              refused("jq -c '.[]'"));
  EXPECT_THAT(reading("a.json", "{\n \"text\": \"x\"\n}\n"),
              refused("jq -c '.'"));
}

TEST_F(TextInputTest, JsonIsReadAsPythonReadsIt) {
  EXPECT_THAT(
      documents_of("a.jsonl",
                   "{\"text\": \"a\", \"score\": NaN}\r\n"
                   "{\"x\": [Infinity,-Infinity], \"text\": \"NaN:b\"}\n"
                   "{\"x\": 1e999, \"text\": \"c\"}\n"
                   "{\"text\": \"d\", \"text\": \"last\"}\n"),
      ElementsAre("a", "NaN:b", "c", "last"));
  EXPECT_THAT(notes_.lines(), IsEmpty());
  for (const char* line :
       {"{\"text\": \"a\", \"x\": nan}", "{\"text\": \"a\", \"x\": NaNa}",
        "{\"text\": \"a\", \"x\": --Infinity}", "{\"text\": \"a\", \"x\": 1e}",
        "{\"text\": NaN}", "{NaN: 1, \"text\": \"a\"}"}) {
    EXPECT_THROW(documents_of("a.jsonl", line), UserError) << line;
  }
}

TEST_F(TextInputTest, HalvesOfSurrogatePairsAreReplacedAndCounted) {
  EXPECT_THAT(
      documents_of("a.jsonl", R"({"text": "1 \ud83d"})"
                              "\n"
                              R"({"text": "2 \ude42\ud83d\ude42\ud83d\u0041"})"
                              "\n"
                              R"({"text": "3 \\ud83d", "x": 0})"),
      ElementsAre("1 \uFFFD", "2 \uFFFD\xf0\x9f\x99\x82\uFFFD\x41",
                  "3 \\ud83d"));
  EXPECT_THAT(notes_.lines(),
              ElementsAre(HasSubstr("read as U+FFFD: 3, in " + in("a.jsonl"))));
}

TEST_F(TextInputTest, TheFieldMayHaveAnotherName) {
  const fs::path path = write("a.jsonl", R"({"content": "x", "text": 1})");
  EXPECT_THAT(documents(path, "content"), ElementsAre("x"));
}

TEST_F(TextInputTest, ByteOrderMarksAreTakenOff) {
  const std::string mark = "\xef\xbb\xbf";
  EXPECT_THAT(documents_of("a.txt", mark + "one " + mark),
              ElementsAre("one " + mark));
  EXPECT_THAT(notes_.lines(), ElementsAre(HasSubstr("taken off: 1, in")));
  const std::string line = "{\"text\": \"x\"}\r\n";
  EXPECT_THAT(documents_of("a.jsonl.gz", gzip_of(mark + line + line)),
              ElementsAre("x", "x"));
  EXPECT_THAT(documents_of("b.jsonl", mark), ElementsAre());
}

TEST_F(TextInputTest, BytesThatAreNotUtf8AreKeptAndCounted) {
  EXPECT_THAT(documents_of("a.txt", "caf\xe9 \xff\xfe"),
              ElementsAre("caf\xe9 \xff\xfe"));
  EXPECT_THAT(notes_.lines(), ElementsAre(HasSubstr(": 3, in")));
}

TEST_F(TextInputTest, ZstdIsUnpacked) {
  const std::string large(3'000'000, 'y');
  const std::string skipped("\x5a\x2a\x4d\x18\x02\0\0\0zz", 10);
  EXPECT_THAT(documents_of("a.txt.zst", zstd_of(large)), ElementsAre(large));
  EXPECT_THAT(documents_of("b.txt.zst", skipped + zstd_of("one ") + skipped +
                                            zstd_of("two")),
              ElementsAre("one two"));
  EXPECT_THAT(documents_of("c.jsonl.zst", zstd_of("{\"text\": \"x\"}\n")),
              ElementsAre("x"));
  EXPECT_THAT(documents_of("d.txt.zst", zstd_of("")), ElementsAre(""));
}

TEST_F(TextInputTest, DamagedZstdIsAnError) {
  std::string noise;
  for (unsigned i = 0; i < 300'000; ++i) noise += char((i * 2654435761u) >> 24);
  const std::string packed = zstd_of(noise);
  for (size_t size : {packed.size() - 1, packed.size() / 2, size_t{6}}) {
    EXPECT_THAT(reading("a.txt.zst", packed.substr(0, size)),
                refused("damaged or cut short"))
        << size;
  }
  EXPECT_THAT(reading("a.txt.zst", packed + "garbage"),
              refused("its zstd data ends at byte"));
  EXPECT_THAT(reading("a.txt.zst", "plain"),
              refused("expected zstd data by the name; if it is plain text"));
  EXPECT_THAT(reading("a.txt.zst", ""), refused("an empty file"));
}

TEST_F(TextInputTest, NothingBehindAGzipMemberIsDropped) {
  const std::string one = gzip_of("one ");
  const std::string zeros(100, '\0');
  EXPECT_THAT(documents_of("a.txt.gz", one + gzip_of("") + gzip_of("two")),
              ElementsAre("one two"));
  EXPECT_THAT(documents_of("b.txt.gz", one + zeros), ElementsAre("one "));
  EXPECT_THAT(documents_of("c.txt.gz", one + zeros + gzip_of("two")),
              ElementsAre("one two"));
  for (const std::string& rest : {std::string("garbage"), zeros + "x",
                                  std::string("\x1f ?"), one.substr(0, 12)}) {
    EXPECT_THROW(documents_of("d.txt.gz", one + rest), UserError);
  }
  EXPECT_THAT(reading("d.txt.gz", one + "garbage"),
              refused(fmt::format("ends at byte {}, and what follows is none",
                                  one.size())));
}

TEST_F(TextInputTest, PackedFilesAreKnownByTheirFirstBytes) {
  EXPECT_THAT(documents_of("a.txt", gzip_of("one")), ElementsAre("one"));
  EXPECT_THAT(notes_.lines(), ElementsAre(HasSubstr("first bytes")));
  EXPECT_THAT(documents_of("a.txt.gz", zstd_of("one")), ElementsAre("one"));
  EXPECT_THAT(notes_.lines(), ElementsAre(HasSubstr("first bytes")));
  EXPECT_THAT(documents_of("a.txt.gz", gzip_of("one")), ElementsAre("one"));
  EXPECT_THAT(notes_.lines(), IsEmpty());
}

TEST_F(TextInputTest, WhatIsNoTextIsRefusedForWhatItIs) {
  using namespace std::string_literals;
  const std::string tar = "name"s + std::string(253, '\0') + "ustar\0"s;
  const std::vector<std::pair<std::string, const char*>> files = {
      {"BZh91AY&SY....", "bunzip2"},
      {"\xfd\x37zXZ\0..."s, "unxz"},
      {"PK\3\4....", "unzip"},
      {tar, "tar -xf"},
      {"ANNULITK....", "--tokens"},
      {"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"},
      {"\xff\xfeo\0n\0e\0"s, "iconv -f UTF-16 -t UTF-8"},
      {"\xfe\xff\0o\0n"s, "iconv -f UTF-16 "},
      {"\xff\xfe\0\0o\0\0\0"s, "iconv -f UTF-32 "},
      {"o\0n\0e\0 \0m\0o\0"s, "iconv -f UTF-16LE"},
      {"\0o\0n\0e\0 \0m\0o"s, "iconv -f UTF-16BE"},
      {"o\0\0\0n\0\0\0e\0\0\0"s, "iconv -f UTF-32LE"},
      {"\0\0\0o\0\0\0n\0\0\0e"s, "iconv -f UTF-32BE"},
      {gzip_of(gzip_of("twice")), "gunzip"}};
  for (const auto& [content, remedy] : files) {
    EXPECT_THAT(reading("a.jsonl", content), refused(remedy)) << remedy;
    EXPECT_THAT(reading("a.txt.gz", gzip_of(content)), refused(remedy));
    EXPECT_THAT(reading("a.txt.zst", zstd_of(content)), refused(remedy));
  }
  for (const std::string& text :
       {"one\0moon\n"s, "a\0b\0"s, "PARENTS"s, "PK"s, "\0\0\0\0"s, "ustar"s}) {
    EXPECT_THAT(documents_of("a.txt", text), ElementsAre(text));
  }
}

TEST_F(TextInputTest, OtherNamesAreRefused) {
  EXPECT_THAT(reading("notes.md", "x"), refused("expected a .txt file"));
  EXPECT_THAT(reading("a.csv", "x"), refused("name it so if it is one"));
  EXPECT_THAT(reading("a.txt.lzma", "x"), refused("try: unlzma"));
  EXPECT_THAT(reading("a.parquet", "x"), refused("expected Parquet data"));
  EXPECT_THAT(reading("a.parquet", ""), refused("found an empty file"));
  EXPECT_THAT(reading("a.txt.gz", ""), refused("found an empty file"));
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
              refused("expected gzip data by the name"));
}

}  // namespace
}  // namespace annuli::data
