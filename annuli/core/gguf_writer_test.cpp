#include "annuli/core/gguf_writer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "annuli/core/folder_for_tests.h"

namespace annuli::gguf {
namespace {

template <typename T>
T number_at(const std::string& bytes, size_t place) {
  T value;
  std::memcpy(&value, bytes.data() + place, sizeof(value));
  return value;
}

// Read by hand, field by field, as the format's description has them.
TEST(GgufWriter, WritesTheFormat) {
  Writer writer;
  writer.add("a.b", uint32_t{7});
  writer.add("list", std::vector<std::string>{"x", "yz"});
  const std::string data = "12345678";
  writer.add_tensor("w", {1, 2}, Type::kF32, [&](const Writer::Sink& sink) {
    sink(data.data(), 3);
    sink(data.data() + 3, 5);
  });
  const test::TestFolder folder;
  const fs::path path = folder / "writer.gguf";
  writer.write(path);
  const std::string bytes = read_file(path);
  EXPECT_EQ(std::ssize(bytes), writer.file_bytes());
  EXPECT_EQ(bytes.substr(0, 4), "GGUF");
  EXPECT_EQ(number_at<uint32_t>(bytes, 4), 3);   // version
  EXPECT_EQ(number_at<uint64_t>(bytes, 8), 1);   // tensors
  EXPECT_EQ(number_at<uint64_t>(bytes, 16), 2);  // keys
  EXPECT_EQ(number_at<uint64_t>(bytes, 24), 3);
  EXPECT_EQ(bytes.substr(32, 3), "a.b");
  EXPECT_EQ(number_at<uint32_t>(bytes, 35), 4);  // uint32
  EXPECT_EQ(number_at<uint32_t>(bytes, 39), 7);
  EXPECT_EQ(bytes.substr(51, 4), "list");
  EXPECT_EQ(number_at<uint32_t>(bytes, 55), 9);  // array
  EXPECT_EQ(number_at<uint32_t>(bytes, 59), 8);  // of strings
  EXPECT_EQ(number_at<uint64_t>(bytes, 63), 2);
  EXPECT_EQ(bytes.substr(79, 1), "x");
  EXPECT_EQ(bytes.substr(88, 2), "yz");
  EXPECT_EQ(bytes.substr(98, 1), "w");
  EXPECT_EQ(number_at<uint32_t>(bytes, 99), 2);   // dimensions
  EXPECT_EQ(number_at<uint64_t>(bytes, 103), 2);  // the inner one first
  EXPECT_EQ(number_at<uint64_t>(bytes, 111), 1);
  EXPECT_EQ(number_at<uint32_t>(bytes, 119), 0);  // fp32
  EXPECT_EQ(number_at<uint64_t>(bytes, 123), 0);  // offset
  EXPECT_EQ(bytes.substr(160, 8), data);          // at a multiple of 32
  EXPECT_EQ(bytes.size(), 192);
  fs::remove(path);
}

}  // namespace
}  // namespace annuli::gguf
