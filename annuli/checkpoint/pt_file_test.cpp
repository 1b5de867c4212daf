#include "annuli/checkpoint/pt_file.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/test_files.h"
#include "annuli/checkpoint/zip_directory.h"

namespace annuli {
namespace {

using test::identical;
using test::make_zip;
using test::number;
using test::TestFolder;
using test::user_error_of;
using namespace std::string_literals;

std::vector<NamedTensor> sample_tensors() {
  return {
      {"z first", at::arange(6, at::kFloat).reshape({2, 3}).div(7)},
      {"bf16", at::arange(8, at::kFloat).div(3).to(at::kBFloat16)},
      {"scalar", at::full({}, 2.5, at::kDouble)},
      {"empty", at::empty({0, 4}, at::kFloat)},
      {"empty too", at::empty({3, 0}, at::kLong)},
      {"i64", at::arange(-2, 3, at::kLong)},
      {"i32", at::arange(3, at::kInt)},
      {"f16", at::arange(4, at::kFloat).div(3).to(at::kHalf)},
      {"u8", at::arange(5, at::kByte)},
      {"bool", at::arange(4, at::kLong).gt(1)},
  };
}

const Json kConfig = Json::parse(R"({
  "hidden_size": 512, "theta": 10000.5, "tied": true, "none": null,
  "big": 4294967296, "negative": -300, "text": "äß", "list": [1, "a", []],
  "nested": {"rope": {"theta": 0.1, "empty": {}}}, "small": [255, 256, 65536]
})");

std::string error_of(const fs::path& path) {
  return user_error_of([&] { PtFile file(path); });
}

TEST(PtFile, RoundTripsTensorsAndConfig) {
  const TestFolder folder;
  const fs::path path = folder / "a.pt";
  write_pt(path, sample_tensors(), kConfig, {{"step", 7}});
  const PtFile file(path);
  EXPECT_EQ(file.config(), kConfig);
  EXPECT_EQ(file.extra(), Json({{"format_version", 1}, {"step", 7}}));
  ASSERT_EQ(file.entries().size(), sample_tensors().size());
  for (size_t i = 0; i < sample_tensors().size(); ++i) {
    const NamedTensor expected = sample_tensors()[i];
    EXPECT_EQ(file.entries()[i].name, expected.name);
    EXPECT_TRUE(identical(file.tensor(expected.name), expected.tensor))
        << expected.name;
    EXPECT_TRUE(identical(file.copy(expected.name), expected.tensor))
        << expected.name;
  }
  EXPECT_FALSE(identical(file.tensor("i32"), file.tensor("i64")));
}

TEST(PtFile, IntegersBeyondInt64BecomeText) {
  const TestFolder folder;
  write_pt(folder / "a.pt", {}, {{"seed", ~uint64_t{0}}});
  EXPECT_EQ(PtFile(folder / "a.pt").config()["seed"], "18446744073709551615");
}

TEST(PtFile, SharedMemoryIsWrittenOnce) {
  const TestFolder folder;
  const at::Tensor table = at::arange(4096, at::kFloat).reshape({64, 64});
  write_pt(folder / "tied.pt", {{"a", table}, {"b", table.view({4096})}},
           Json::object());
  write_pt(folder / "copied.pt", {{"a", table}, {"b", table.clone()}},
           Json::object());
  const PtFile tied(folder / "tied.pt");
  EXPECT_EQ(tied.entry("a").offset, tied.entry("b").offset);
  EXPECT_TRUE(identical(tied.tensor("b"), table.view({4096})));
  const PtFile copied(folder / "copied.pt");
  EXPECT_NE(copied.entry("a").offset, copied.entry("b").offset);
  EXPECT_GE(fs::file_size(folder / "copied.pt"),
            fs::file_size(folder / "tied.pt") + 4096 * 4);
}

TEST(PtFile, PartOfAStorageIsWrittenAlone) {
  const TestFolder folder;
  const at::Tensor all = at::arange(1 << 16, at::kFloat);
  write_pt(folder / "a.pt", {{"part", all.narrow(0, 100, 5)}}, Json::object());
  EXPECT_LT(fs::file_size(folder / "a.pt"), 8192);
  EXPECT_TRUE(
      identical(PtFile(folder / "a.pt").tensor("part"), all.narrow(0, 100, 5)));
}

TEST(PtFile, TensorDataIsAlignedForMapping) {
  const TestFolder folder;
  write_pt(folder / "a.pt", sample_tensors(), kConfig);
  const PtFile file(folder / "a.pt");
  for (const TensorEntry& entry : file.entries()) {
    EXPECT_EQ(entry.offset % 64, 0) << entry.name;
  }
}

// Files of this process may not grow beyond `bytes` while this lives: what a
// full disk looks like to a writer.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, handler_);
  }

 private:
  sighandler_t handler_;
  rlimit old_{};
};

TEST(PtFile, FailedWriteIsAnErrorAndLeavesTheOldFile) {
  const TestFolder folder;
  const fs::path path = folder / "a.pt";
  write_pt(path, {}, {{"old", 1}});
  const auto write_large = [&] {
    write_pt(path, {{"x", at::arange(1 << 16, at::kFloat)}}, {{"new", 1}});
  };
  {
    const FileSizeLimit limit(1 << 16);
    EXPECT_THAT(user_error_of(write_large), testing::HasSubstr("a.pt"));
  }
  EXPECT_EQ(PtFile(path).config(), Json({{"old", 1}}));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  write_large();
  EXPECT_EQ(PtFile(path).config(), Json({{"new", 1}}));
}

TEST(PtFile, StridedTensorsAreOurBug) {
  const TestFolder folder;
  const at::Tensor strided = at::arange(6).view({2, 3}).t();
  EXPECT_THROW(write_pt(folder / "a.pt", {{"x", strided}}, Json::object()),
               CheckFailure);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(PtFile, TruncationsAreRefused) {
  const TestFolder folder;
  const fs::path path = folder / "a.pt";
  write_pt(path, {{"x", at::arange(4, at::kFloat)}}, {{"a", 1}});
  const std::string whole = read_file(path);
  EXPECT_EQ(error_of(path), "");
  for (size_t size = 0; size < whole.size(); size += 5) {
    test::write_raw(path, whole.substr(0, size));
    EXPECT_NE(error_of(path), "") << size;
  }
}

// Whatever byte is wrong, the file opens or is refused in one line.
TEST(PtFile, EveryFlippedByteIsHarmless) {
  const TestFolder folder;
  const fs::path path = folder / "a.pt";
  write_pt(path, {{"x", at::arange(4, at::kFloat)}}, {{"a", 1}});
  std::string bytes = read_file(path);
  int refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(~bytes[i]);
    test::write_raw(path, bytes);
    const std::string error = error_of(path);
    EXPECT_EQ(error.find('\n'), std::string::npos) << i << ' ' << error;
    if (!error.empty()) ++refused;
    bytes[i] = static_cast<char>(~bytes[i]);
  }
  EXPECT_GT(refused, 200);
}

TEST(PtFile, AFlippedByteOfATensorIsFound) {
  const TestFolder folder;
  const fs::path path = folder / "a.pt";
  write_pt(path,
           {{"x", at::arange(4, at::kFloat)}, {"y", at::arange(0, at::kFloat)}},
           {{"a", 1}});
  PtFile(path).check_data();
  std::string bytes = read_file(path);
  const size_t place = static_cast<size_t>(PtFile(path).entry("x").offset) + 5;
  bytes[place] = static_cast<char>(bytes[place] ^ 1);
  test::write_raw(path, bytes);
  const PtFile file(path);
  const auto says = testing::HasSubstr("the checksum of tensor 'x'");
  EXPECT_THAT(test::user_error_of([&] { file.check_data(); }), says);
  EXPECT_THAT(test::user_error_of([&] { file.copy("x"); }), says);
}

std::string text(const std::string& value) {
  return fmt::format("X{}{}", number(static_cast<uint32_t>(value.size())),
                     value);
}
std::string integer(int32_t value) { return fmt::format("J{}", number(value)); }
std::string tuple(const std::vector<int32_t>& values) {
  std::string result = "(";
  for (const int32_t value : values) result += integer(value);
  return result + "t";
}

// What a pickled tensor states; the fields that tests spoil.
struct TensorPickle {
  std::string storage_class = "FloatStorage";
  std::string key = "0";
  int32_t numel = 6;
  int32_t offset = 0;
  std::vector<int32_t> shape = {2, 3};
  std::vector<int32_t> strides = {3, 1};

  std::string bytes() const {
    return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
           "ctorch\n" + storage_class + "\n" + text(key) + text("cpu") +
           integer(numel) + "tQ" + integer(offset) + tuple(shape) +
           tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
  }
};

std::string data_pkl(const std::string& tensor,
                     const std::string& config = "}") {
  return "\x80\x02}(" + text("model") + "}" + text("w") + tensor + "s" +
         text("config") + config + "u.";
}

std::string six_floats() {
  std::string data;
  for (int i = 0; i < 6; ++i) data += number(static_cast<float>(i));
  return data;
}

std::string error_of_zip(const TestFolder& folder, const std::string& zip) {
  test::write_raw(folder / "hand.pt", zip);
  const std::string error = error_of(folder / "hand.pt");
  EXPECT_EQ(error.empty(), error.find("hand.pt") == std::string::npos);
  return error;
}

std::string error_of_tensor(const TensorPickle& tensor) {
  const TestFolder folder;
  return error_of_zip(folder,
                      make_zip({{"archive/data.pkl", data_pkl(tensor.bytes())},
                                {"archive/data/0", six_floats()}}));
}

TEST(PtFile, ReadsAnArchiveMadeByHand) {
  const TestFolder folder;
  const std::string zip =
      make_zip({{"any/data.pkl", data_pkl(TensorPickle{}.bytes())},
                {"any/byteorder", "little"},
                {"any/data/0", six_floats()}});
  EXPECT_EQ(error_of_zip(folder, zip), "");
  EXPECT_TRUE(identical(PtFile(folder / "hand.pt").tensor("w"),
                        at::arange(6, at::kFloat).view({2, 3})));
}

TEST(PtFile, RefusesTensorsThatCannotBe) {
  EXPECT_EQ(error_of_tensor({}), "");
  EXPECT_EQ(error_of_tensor({.offset = 2, .shape = {4}, .strides = {1}}), "");
  const std::vector<std::pair<TensorPickle, const char*>> faults = {
      {{.storage_class = "ComplexFloatStorage"}, "unknown type"},
      {{.storage_class = "DoubleStorage"}, "expected 6 elements of F64"},
      {{.key = "1"}, "no data (record data/1)"},
      {{.key = "../0"}, "no data"},
      {{.numel = 7}, "expected 7 elements"},
      {{.numel = -1}, "storage of an unknown kind"},
      {{.offset = 1}, "reaches beyond"},
      {{.offset = -1}, "reaches beyond"},
      {{.shape = {3, 3}}, "reaches beyond"},
      {{.shape = {-2, 3}}, "impossible shape"},
      {{.shape = {1 << 30, 1 << 30, 1 << 30}, .strides = {0, 0, 0}},
       "impossible shape"},
      {{.shape = {3, 2}, .strides = {1, 3}}, ".contiguous()"},
      {{.shape = {2, 3}, .strides = {0, 0}}, ".contiguous()"},
      {{.strides = {1}}, ".contiguous()"},
  };
  for (const auto& [tensor, fault] : faults) {
    EXPECT_THAT(error_of_tensor(tensor), testing::HasSubstr(fault));
  }
}

TEST(PtFile, RefusesArchivesThatCannotBe) {
  const TestFolder folder;
  const std::string pkl = data_pkl(TensorPickle{}.bytes());
  const test::ZipMembers good = {{"a/data.pkl", pkl},
                                 {"a/data/0", six_floats()}};
  const auto with = [&](const std::function<void(std::string&)>& spoil) {
    std::string zip = make_zip(good);
    spoil(zip);
    return error_of_zip(folder, zip);
  };
  EXPECT_EQ(with([](std::string&) {}), "");
  EXPECT_THAT(error_of_zip(folder, make_zip(good, /*method=*/8)),
              testing::HasSubstr("compressed"));
  EXPECT_THAT(error_of_zip(folder, make_zip({{"a/x", "y"}})),
              testing::HasSubstr("no data.pkl"));
  EXPECT_THAT(error_of_zip(folder, "not a zip file, but long enough for one"),
              testing::HasSubstr("no directory"));
  EXPECT_THAT(error_of_zip(folder, make_zip({good[0], good[1], good[1]})),
              testing::HasSubstr("twice"));
  EXPECT_THAT(error_of_zip(
                  folder, make_zip({good[0], good[1], {"a/byteorder", "big"}})),
              testing::HasSubstr("byte order"));
  // The pickle's bytes no longer match its checksum.
  EXPECT_THAT(with([&](std::string& zip) { zip[zip.find("model")] = 'M'; }),
              testing::HasSubstr("checksum"));
  // The second local header bears another name than the directory.
  EXPECT_THAT(
      with([&](std::string& zip) { zip[zip.find("a/data/0") + 7] = '1'; }),
      testing::HasSubstr("another name"));
  // The directory's end moves; its members point beyond the file.
  EXPECT_NE(with([](std::string& zip) { zip[zip.size() - 6] += 1; }), "");
  EXPECT_NE(with([](std::string& zip) { zip.erase(0, 1); }), "");
}

TEST(PtFile, RefusesOtherContents) {
  const TestFolder folder;
  const auto error_of_pickle = [&](const std::string& pkl) {
    return error_of_zip(
        folder, make_zip({{"a/data.pkl", pkl}, {"a/data/0", six_floats()}}));
  };
  EXPECT_THAT(error_of_pickle("\x80\x02}."), testing::HasSubstr("'model'"));
  EXPECT_THAT(error_of_pickle("\x80\x02]."), testing::HasSubstr("'model'"));
  EXPECT_THAT(error_of_pickle(data_pkl(integer(3))),
              testing::HasSubstr("no named tensor"));
  EXPECT_THAT(error_of_pickle(data_pkl(TensorPickle{}.bytes(), integer(3))),
              testing::HasSubstr("'config'"));
  EXPECT_THAT(
      error_of_pickle(data_pkl(TensorPickle{}.bytes(),
                               "}" + text("t") + TensorPickle{}.bytes() + "s")),
      testing::HasSubstr("found a tensor"));
  EXPECT_THAT(
      error_of_pickle("\x80\x02}(" + text("model") + "}" + text("config") +
                      "}" + text("format_version") + integer(2) + "u."),
      testing::HasSubstr("format_version is 2"));
  EXPECT_THAT(
      error_of_pickle(data_pkl("cposix\nsystem\n(" + text("true") + "tR")),
      testing::HasSubstr("not allowed"));
}

std::string error_of_state_dict(const TestFolder& folder,
                                const std::string& pkl) {
  test::write_raw(folder / "hand.bin",
                  make_zip({{"a/data.pkl", pkl}, {"a/data/0", six_floats()}}));
  return user_error_of([&] { StateDictFile file(folder / "hand.bin"); });
}

TEST(StateDictFile, ReadsTensorsAndParameters) {
  const TestFolder folder;
  const std::string tensor = TensorPickle{}.bytes();
  const std::string parameter = "ctorch._utils\n_rebuild_parameter\n(" +
                                tensor + "\x89" +
                                "ccollections\nOrderedDict\n)RtR";
  // An OrderedDict whose _metadata is set last.
  EXPECT_EQ(error_of_state_dict(folder,
                                "\x80\x02"
                                "ccollections\nOrderedDict\n)R(" +
                                    text("t") + tensor + text("p") + parameter +
                                    "u}" + text("_metadata") + "}sb."),
            "");
  const StateDictFile file(folder / "hand.bin");
  for (const char* name : {"t", "p"}) {
    EXPECT_TRUE(
        identical(file.tensor(name), at::arange(6, at::kFloat).view({2, 3})))
        << name;
  }
}

TEST(StateDictFile, RefusesWhatIsNone) {
  const TestFolder folder;
  const auto error = [&](const std::string& pkl) {
    return error_of_state_dict(folder, pkl);
  };
  EXPECT_THAT(error("\x80\x02]."), testing::HasSubstr("is no dict"));
  EXPECT_THAT(error("\x80\x02}" + text("step") + integer(3) + "s."),
              testing::HasSubstr("no named tensor ('step')"));
  EXPECT_THAT(
      error("\x80\x02}" + text("w") + "ctorch._utils\n_rebuild_parameter\n(" +
            integer(3) + "\x89}tRs."),
      testing::HasSubstr("a parameter that is no tensor"));
  test::write_raw(
      folder / "old.bin",
      "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.");
  EXPECT_THAT(user_error_of([&] { StateDictFile file(folder / "old.bin"); }),
              testing::AllOf(testing::HasSubstr("before 1.6"),
                             testing::HasSubstr("old.bin.new")));
}

}  // namespace
}  // namespace annuli
