#include "annuli/core/gguf_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/gguf_writer.h"
#include "annuli/core/user_error_for_tests.h"

namespace annuli::gguf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string written() {
  Writer writer;
  writer.add("a", uint32_t{7});
  writer.add("b", 0.5F);
  writer.add("c", true);
  writer.add("d", "text");
  writer.add("e", std::vector<std::string>{"x", "", "yz"});
  writer.add("f", std::vector<float>{1, 2});
  const std::string data = "12345678abcdefgh";
  for (const char* name : {"w", "v"}) {
    writer.add_tensor(name, {2, 2}, Type::kF32, [&](const Writer::Sink& sink) {
      sink(data.data(), data.size());
    });
  }
  const test::TestFolder folder;
  writer.write(folder / "file.gguf");
  return read_file(folder / "file.gguf");
}

File opened(const std::string& bytes) {
  return File(std::as_bytes(std::span(bytes)), "file.gguf");
}

std::string refusal(const std::string& bytes) {
  return test::user_error_of([&] { opened(bytes); });
}

TEST(GgufFile, ReadsWhatWasWritten) {
  const std::string bytes = written();
  const File file = opened(bytes);
  EXPECT_EQ(file.whole("a"), 7);
  EXPECT_EQ(file.number("b"), 0.5);
  EXPECT_TRUE(file.flag("c", false));
  EXPECT_EQ(file.text("d", ""), "text");
  EXPECT_THAT(file.texts("e"), ElementsAre("x", "", "yz"));
  EXPECT_THAT(file.numbers("f"), ElementsAre(1, 2));
  ASSERT_EQ(file.tensors().size(), 2U);
  const Tensor* tensor = file.find_tensor("v");
  ASSERT_NE(tensor, nullptr);
  EXPECT_THAT(tensor->shape, ElementsAre(2, 2));
  EXPECT_EQ(tensor->offset % kAlignment, 0);
  EXPECT_EQ(file.data_of(*tensor)[8], std::byte{'a'});
}

TEST(GgufFile, AKeyOfAnotherKindIsRefused) {
  const std::string bytes = written();
  const File file = opened(bytes);
  EXPECT_THROW(file.whole("b"), UserError);
  EXPECT_THROW(file.whole("none"), UserError);
  EXPECT_THROW(file.text("a", ""), UserError);
  EXPECT_THROW(file.texts("f"), UserError);
  EXPECT_EQ(file.whole("none", 3), 3);
}

// Every beginning is cut short; which fault is named follows from the place.
TEST(GgufFile, NoBeginningIsTakenForTheWhole) {
  const std::string bytes = written();
  const size_t padding = 16;  // behind the last tensor
  for (size_t size = 0; size < bytes.size() - padding; ++size) {
    EXPECT_THAT(refusal(bytes.substr(0, size)), HasSubstr("reading file.gguf"))
        << size;
  }
  EXPECT_NO_THROW(opened(bytes.substr(0, bytes.size() - padding)));
  EXPECT_THAT(refusal(bytes + std::string(32, '\0')),
              HasSubstr("after the last tensor"));
}

TEST(GgufFile, OffsetsAreTheRunningSum) {
  const std::string bytes = written();
  const size_t place = bytes.find("v\x02") + 1 + 4 + 16 + 4;
  std::string hole = bytes;
  hole[place] = 64;
  EXPECT_THAT(refusal(hole), HasSubstr("there is a hole"));
  std::string overlap = bytes;
  overlap[place] = 0;
  EXPECT_THAT(refusal(overlap), HasSubstr("tensors overlap"));
}

}  // namespace
}  // namespace annuli::gguf
