#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// A message in the protobuf wire format, field by field, for the few that we
// write (protobuf.dev/programming-guides/encoding). Fields stand in the order
// of the calls.
namespace annuli::report {

class ProtobufMessage {
 public:
  // int32, int64, enum, bool. Negative numbers take ten bytes, as they must.
  ProtobufMessage& integer(int field, int64_t value);
  ProtobufMessage& real(int field, double value);
  ProtobufMessage& real32(int field, float value);
  // string, bytes.
  ProtobufMessage& text(int field, std::string_view value);
  ProtobufMessage& message(int field, const ProtobufMessage& value);
  // repeated double, packed.
  ProtobufMessage& reals(int field, std::span<const double> values);

  const std::string& bytes() const { return bytes_; }

 private:
  void key(int field, int wire_type);
  void varint(uint64_t value);

  std::string bytes_;
};

}  // namespace annuli::report
