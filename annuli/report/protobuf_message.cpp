#include "annuli/report/protobuf_message.h"

#include <bit>

namespace annuli::report {
namespace {

static_assert(std::endian::native == std::endian::little);

enum WireType { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

template <typename T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

void ProtobufMessage::varint(uint64_t value) {
  constexpr uint64_t kMore = 0x80;
  constexpr int kBits = 7;
  while (value >= kMore) {
    bytes_.push_back(static_cast<char>(value | kMore));
    value >>= kBits;
  }
  bytes_.push_back(static_cast<char>(value));
}

void ProtobufMessage::key(int field, int wire_type) {
  constexpr int kTypeBits = 3;
  varint(static_cast<uint64_t>(field) << kTypeBits |
         static_cast<uint64_t>(wire_type));
}

ProtobufMessage& ProtobufMessage::integer(int field, int64_t value) {
  key(field, kVarint);
  varint(static_cast<uint64_t>(value));
  return *this;
}

ProtobufMessage& ProtobufMessage::real(int field, double value) {
  key(field, kFixed64);
  append(bytes_, value);
  return *this;
}

ProtobufMessage& ProtobufMessage::real32(int field, float value) {
  key(field, kFixed32);
  append(bytes_, value);
  return *this;
}

ProtobufMessage& ProtobufMessage::text(int field, std::string_view value) {
  key(field, kLength);
  varint(value.size());
  bytes_ += value;
  return *this;
}

ProtobufMessage& ProtobufMessage::message(int field,
                                          const ProtobufMessage& value) {
  return text(field, value.bytes());
}

ProtobufMessage& ProtobufMessage::reals(int field,
                                        std::span<const double> values) {
  return text(field, {reinterpret_cast<const char*>(values.data()),
                      values.size_bytes()});
}

}  // namespace annuli::report
