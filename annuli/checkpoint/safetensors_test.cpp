#include "annuli/checkpoint/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <vector>

#include "annuli/checkpoint/test_files.h"

namespace annuli {
namespace {

using test::identical;
using test::TestFolder;
using test::user_error_of;

// One of each type, a scalar, and empty ones.
std::vector<NamedTensor> sample_tensors() {
  return {
      {"f64", at::arange(6, at::kDouble).reshape({2, 3}).div(7)},
      {"i64", at::arange(-2, 3, at::kLong)},
      {"f32", at::arange(12, at::kFloat).reshape({2, 2, 3}).div(3)},
      {"scalar", at::full({}, 2.5, at::kFloat)},
      {"empty", at::empty({0, 4}, at::kFloat)},
      {"i32", at::arange(3, at::kInt)},
      {"bf16", at::arange(8, at::kFloat).div(3).to(at::kBFloat16)},
      {"f16", at::arange(4, at::kFloat).div(3).to(at::kHalf)},
      {"u8", at::arange(5, at::kByte)},
      {"bool", at::arange(4, at::kLong).gt(1)},
      {"empty at the end", at::empty({0}, at::kByte)},
  };
}

std::string bytes_of(uint64_t value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A file with this header and this much data.
fs::path write_header(const TestFolder& folder, const std::string& header,
                      size_t data_bytes) {
  const fs::path path = folder / "raw.safetensors";
  test::write_raw(
      path, bytes_of(header.size()) + header + std::string(data_bytes, '\0'));
  return path;
}

std::string error_of(const fs::path& path) {
  return user_error_of([&] { SafetensorsFile file(path); });
}

TEST(Safetensors, RoundTripsEveryType) {
  const TestFolder folder;
  write_safetensors(folder / "all.safetensors", sample_tensors(),
                    {{"origin", "test \"quoted\""}});
  const SafetensorsFile file(folder / "all.safetensors");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("origin"), "test \"quoted\"");
  ASSERT_EQ(file.entries().size(), sample_tensors().size());
  for (const NamedTensor& expected : sample_tensors()) {
    EXPECT_TRUE(identical(file.tensor(expected.name), expected.tensor))
        << expected.name;
    EXPECT_TRUE(identical(file.copy(expected.name), expected.tensor))
        << expected.name;
  }
  at::Tensor changed = file.copy("f32");
  changed[0][0][0] += 1;
  EXPECT_FALSE(identical(changed, file.tensor("f32")));
}

TEST(Safetensors, HeaderIsPaddedAndKeepsTheOrder) {
  const TestFolder folder;
  write_safetensors(
      folder / "a.safetensors",
      {{"b", at::arange(3, at::kFloat)}, {"a", at::arange(2, at::kFloat)}});
  const std::string content = read_file(folder / "a.safetensors");
  uint64_t length = 0;
  memcpy(&length, content.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0);
  EXPECT_EQ(content.size(), 8 + length + 5 * 4);
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.entries()[0].name, "b");
}

TEST(Safetensors, ViewsOutliveTheFileAndItsName) {
  const TestFolder folder;
  const fs::path path = folder / "a.safetensors";
  write_safetensors(path, {{"x", at::arange(100, at::kFloat)}});
  const at::Tensor view = SafetensorsFile(path).tensor("x");
  fs::remove(path);
  EXPECT_TRUE(identical(view, at::arange(100, at::kFloat)));
}

TEST(Safetensors, MisalignedDataIsCopied) {
  const TestFolder folder;
  // 8 + 57 bytes of header: the floats begin at an odd byte.
  std::string header =
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  header.append(57 - header.size(), ' ');
  const SafetensorsFile file(write_header(folder, header, 8));
  ASSERT_NE(file.entry("x").offset % 4, 0);
  EXPECT_TRUE(identical(file.tensor("x"), at::full({2}, 0, at::kFloat)));
}

TEST(Safetensors, UnfinishedWriterLeavesNothing) {
  const TestFolder folder;
  {
    SafetensorsWriter writer(folder / "a.safetensors",
                             {entry_of({"x", at::arange(3, at::kFloat)}),
                              entry_of({"y", at::arange(2, at::kFloat)})});
    EXPECT_THROW(writer.write(at::arange(4, at::kFloat)), CheckFailure);
    EXPECT_THROW(writer.write(at::arange(3, at::kDouble)), CheckFailure);
    writer.write(at::arange(3, at::kFloat));
    EXPECT_THROW(writer.finish(), CheckFailure);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Safetensors, NamesWhatIsNotThere) {
  const TestFolder folder;
  write_safetensors(folder / "a.safetensors", {{"x", at::arange(1)}});
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_FALSE(file.contains("y"));
  EXPECT_THAT(user_error_of([&] { file.tensor("y"); }),
              testing::HasSubstr("no tensor 'y'"));
}

struct Malformed {
  const char* name;
  const char* header;
  size_t data_bytes;
  const char* fault;  // part of the message
};

const Malformed kMalformed[] = {
    {"NotAnObject", "[1]", 0, "does not begin with"},
    {"Empty", "", 0, "does not begin with"},
    {"NotJson", R"({"x":)", 0, "not JSON"},
    {"TrailingGarbage", R"({} x)", 0, "not JSON"},
    {"TwiceTheSame",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
     1, "'x' twice"},
    {"TwoShapes",
     R"({"x":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,2]}})", 2,
     "'shape' twice"},
    {"DeepNesting", R"({"x":[[[[[[[[1]]]]]]]]})", 0, "nested too deeply"},
    {"UnknownType", R"({"x":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})",
     8, "has dtype \"C64\""},
    {"QuantisedType",
     R"({"x":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", 1,
     "quantised (tensor 'x' is F4)"},
    {"TypeIsANumber", R"({"x":{"dtype":4,"shape":[1],"data_offsets":[0,1]}})",
     1, "has dtype 4"},
    {"NoShape", R"({"x":{"dtype":"U8","data_offsets":[0,1]}})", 1,
     "has no shape"},
    {"NoOffsets", R"({"x":{"dtype":"U8","shape":[1]}})", 1,
     "has no data_offsets"},
    {"EntryIsAList", R"({"x":[]})", 0, "has no dtype"},
    {"NegativeSize",
     R"({"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1,
     "expected a list of sizes"},
    {"FractionalSize",
     R"({"x":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1,
     "expected a list of sizes"},
    {"SizeBeyond63Bits",
     R"({"x":{"dtype":"U8","shape":[9223372036854775808],)"
     R"("data_offsets":[0,1]}})",
     1, "expected a list of sizes"},
    {"ProductOverflows",
     R"({"x":{"dtype":"F32","shape":[4294967296,4294967296],)"
     R"("data_offsets":[0,0]}})",
     0, "impossible shape"},
    {"ProductOverflowsBehindAZero",
     R"({"x":{"dtype":"F32","shape":[0,4294967296,4294967296],)"
     R"("data_offsets":[0,0]}})",
     0, "impossible shape"},
    {"SizeIsNotTheShapes",
     R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
     "4 bytes of data, expected 8"},
    {"EndBeforeBegin",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1,
     "expected [begin, end]"},
    {"ThreeOffsets",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 2,
     "expected [begin, end]"},
    {"Hole",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
     3, "there is a hole"},
    {"HoleAtTheStart",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2,
     "there is a hole"},
    {"Overlap",
     R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
     R"("y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
     3, "tensors overlap"},
    {"EmptyInsideAnother",
     R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
     R"("y":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
     2, "tensors overlap"},
    {"DataMissing", R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
     3, "truncated"},
    {"DataLeftOver", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
     9, "8 bytes after the last tensor"},
    {"MetadataIsAList", R"({"__metadata__":[]})", 0, "__metadata__"},
    {"MetadataOfNumbers", R"({"__metadata__":{"a":1}})", 0, "__metadata__"},
};

class SafetensorsMalformed : public testing::TestWithParam<Malformed> {};

TEST_P(SafetensorsMalformed, IsRefused) {
  const TestFolder folder;
  const fs::path path =
      write_header(folder, GetParam().header, GetParam().data_bytes);
  const std::string error = error_of(path);
  EXPECT_THAT(error, testing::HasSubstr(path.string()));
  EXPECT_THAT(error, testing::HasSubstr(GetParam().fault));
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Headers, SafetensorsMalformed,
                         testing::ValuesIn(kMalformed),
                         [](const auto& info) { return info.param.name; });

// The control for the table above: the same hands make files that open.
TEST(Safetensors, WellFormedByHand) {
  const TestFolder folder;
  EXPECT_EQ(error_of(write_header(folder, "{}", 0)), "");
  EXPECT_EQ(
      error_of(write_header(folder, R"({"__metadata__":{"a":"b"}}  )", 0)), "");
  EXPECT_EQ(error_of(write_header(
                folder,
                R"({"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},)"
                R"("e":{"dtype":"F32","shape":[3,0],"data_offsets":[1,1]},)"
                R"("x":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}})",
                3)),
            "");
}

TEST(Safetensors, RefusesWrongHeaderLengths) {
  const TestFolder folder;
  const fs::path path = folder / "a.safetensors";
  for (const uint64_t length : {uint64_t{3}, uint64_t{99'999'999},
                                uint64_t{100'000'001}, ~uint64_t{0}}) {
    test::write_raw(path, bytes_of(length) + "{}");
    EXPECT_THAT(error_of(path), testing::HasSubstr("a header of")) << length;
  }
  test::write_raw(path, bytes_of(2) + "{}");
  EXPECT_EQ(error_of(path), "");
  test::write_raw(path, "1234567");
  EXPECT_THAT(error_of(path), testing::HasSubstr("7 bytes"));
  test::write_raw(path, "");
  EXPECT_THAT(error_of(path), testing::HasSubstr("0 bytes"));
  EXPECT_THAT(error_of(folder / "nowhere"), testing::HasSubstr("nowhere"));
}

TEST(Safetensors, ReplacesWhatIsKnownLast) {
  const TestFolder folder;
  const fs::path path = folder / "a.safetensors";
  write_safetensors(path, {{"x", at::arange(4, at::kFloat)}},
                    {{"parent", "0000"}, {"other", "00"}});
  const std::string before = read_file(path);
  replace_in_header(path, "0000", "abcd");
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("parent"), "abcd");
  EXPECT_EQ(file.metadata().at("other"), "00");
  EXPECT_TRUE(test::identical(file.copy("x"), at::arange(4, at::kFloat)));
  EXPECT_EQ(read_file(path).size(), before.size());
  EXPECT_THROW(replace_in_header(path, "abcd", "long!"), CheckFailure);
  EXPECT_THROW(replace_in_header(path, "1234", "abcd"), CheckFailure);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TestFolder folder;
  const fs::path path = folder / "a.safetensors";
  write_safetensors(path, {{"x", at::arange(4, at::kFloat)}});
  const std::string whole = read_file(path);
  EXPECT_EQ(error_of(path), "");
  for (size_t size = 0; size < whole.size(); ++size) {
    test::write_raw(path, whole.substr(0, size));
    EXPECT_NE(error_of(path), "") << size;
  }
}

}  // namespace
}  // namespace annuli
