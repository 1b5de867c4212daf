#include "annuli/report/event_record.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

namespace annuli::report {
namespace {

using namespace std::string_literals;

std::string hex(const std::string& bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

// The vectors of RFC 3720, appendix B.4, and the usual check value.
TEST(EventRecord, ChecksumIsCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(""), 0u);
}

// The examples of protobuf.dev/programming-guides/encoding.
TEST(EventRecord, FieldsAreAsProtobufHasThem) {
  EXPECT_EQ(hex(ProtobufMessage().integer(1, 150).bytes()), "089601");
  EXPECT_EQ(hex(ProtobufMessage().integer(1, -1).bytes()),
            "08ffffffffffffffffff01");
  EXPECT_EQ(hex(ProtobufMessage().text(2, "testing").bytes()),
            "120774657374696e67");
  EXPECT_EQ(hex(ProtobufMessage()
                    .message(3, ProtobufMessage().integer(1, 150))
                    .bytes()),
            "1a03089601");
  EXPECT_EQ(hex(ProtobufMessage().real32(16, 1.0F).bytes()), "85010000803f");
  const std::array<double, 2> values = {1, -2};
  EXPECT_EQ(hex(ProtobufMessage().reals(7, values).bytes()),
            "3a10000000000000f03f00000000000000c0");
}

TEST(EventRecord, AFrameIsLengthAndBothChecksums) {
  const std::string record = first_record(0);
  uint64_t size = 0;
  std::memcpy(&size, record.data(), sizeof(size));
  constexpr size_t kFrame = 16;
  ASSERT_EQ(record.size(), size + kFrame);
  const auto masked = [&](size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, record.data() + at, sizeof(value));
    return value;
  };
  const auto mask = [](uint32_t crc) {
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  EXPECT_EQ(masked(8), mask(crc32c(record.substr(0, 8))));
  EXPECT_EQ(masked(12 + size), mask(crc32c(record.substr(12, size))));
  EXPECT_EQ(record.substr(12 + 9, 15), "\x1a\x0d"s + "brain.Event:2"s);
}

TEST(EventRecord, ATextIsUtf8) {
  const auto told = [](const std::string& text) {
    EventValues values;
    values.add_text("tag", text);
    return values.summary().bytes();
  };
  EXPECT_EQ(told("a\x84\xe2z\xff"), told("a\ufffd\ufffdz\ufffd"));
  EXPECT_NE(told("\xe2\x82\xac"), told("\ufffd"));
}

}  // namespace
}  // namespace annuli::report
