#include "annuli/report/event_record.h"

#include <array>
#include <bit>
#include <numeric>
#include <vector>

#include "annuli/config/utf8.h"

namespace annuli::report {
namespace {

// Field numbers of tensorflow/core/util/event.proto ...
enum EventField {
  kWallTime = 1,
  kStep = 2,
  kFileVersion = 3,
  kSummary = 5,
  kSessionLog = 7
};
enum SessionLogField { kSessionStatus = 1 };
enum SessionStatus { kStart = 1 };
// ... of tensorflow/core/framework/summary.proto, tensor.proto and
// tensor_shape.proto ...
enum SummaryField { kValue = 1 };
enum ValueField {
  kTag = 1,
  kSimpleValue = 2,
  kHistogram = 5,
  kTensor = 8,
  kMetadata = 9
};
enum MetadataField { kPluginData = 1 };
enum PluginField { kPluginName = 1, kPluginContent = 2 };
enum HistogramField {
  kMin = 1,
  kMax = 2,
  kNum = 3,
  kSum = 4,
  kSumSquares = 5,
  kBucketLimit = 6,
  kBucket = 7
};
enum TensorField { kType = 1, kShape = 2, kFloatValue = 5, kStringValue = 8 };
enum ShapeField { kDimension = 2 };
enum DimensionField { kSize = 1 };
enum TensorType { kFloatType = 1, kStringType = 7 };
// ... and of tensorboard/plugins/hparams/plugin_data.proto and google's
// struct.proto.
enum SettingsField { kSessionStart = 3 };
enum SessionField { kSettings = 1 };
enum MapField { kKey = 1, kEntry = 2 };
enum SettingField { kNumber = 2, kText = 3, kBoolean = 4 };

ProtobufMessage one_of(TensorType type) {
  ProtobufMessage shape;
  shape.message(kDimension, ProtobufMessage().integer(kSize, 1));
  ProtobufMessage tensor;
  tensor.integer(kType, type).message(kShape, shape);
  return tensor;
}

ProtobufMessage plugin(std::string_view name, std::string_view content) {
  ProtobufMessage data;
  data.text(kPluginName, name);
  if (!content.empty()) data.text(kPluginContent, content);
  ProtobufMessage metadata;
  metadata.message(kPluginData, data);
  return metadata;
}

ProtobufMessage setting(const Json& value) {
  ProtobufMessage message;
  if (value.is_boolean()) return message.integer(kBoolean, value.get<bool>());
  if (value.is_number()) return message.real(kNumber, value.get<double>());
  return message.text(
      kText, value.is_string() ? value.get<std::string>() : value.dump());
}

// Each byte that belongs to no character becomes U+FFFD: TensorBoard shows no
// text at all otherwise.
std::string as_utf8(std::string_view text) {
  std::string valid;
  for (size_t bad = first_invalid_utf8(text); bad < text.size();
       bad = first_invalid_utf8(text)) {
    valid += text.substr(0, bad);
    valid += "\xef\xbf\xbd";
    text.remove_prefix(bad + 1);
  }
  return valid.append(text);
}

constexpr std::array<uint32_t, 256> crc_table() {
  constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

void append_masked_crc(std::string& record, std::string_view of) {
  constexpr int kTurn = 15;
  constexpr uint32_t kMask = 0xa282ead8;
  const uint32_t masked = std::rotr(crc32c(of), kTurn) + kMask;
  record.append(reinterpret_cast<const char*>(&masked), sizeof(masked));
}

std::string framed(const ProtobufMessage& message) {
  const uint64_t size = message.bytes().size();
  std::string record(reinterpret_cast<const char*>(&size), sizeof(size));
  append_masked_crc(record, std::string(record));
  record += message.bytes();
  append_masked_crc(record, message.bytes());
  return record;
}

}  // namespace

void EventValues::add_scalar(std::string_view tag, double value) {
  ProtobufMessage message;
  message.text(kTag, tag).real32(kSimpleValue, static_cast<float>(value));
  summary_.message(kValue, message);
}

void EventValues::add_text(std::string_view tag, std::string_view text) {
  ProtobufMessage message;
  message.text(kTag, tag)
      .message(kMetadata, plugin("text", ""))
      .message(kTensor, one_of(kStringType).text(kStringValue, as_utf8(text)));
  summary_.message(kValue, message);
}

void EventValues::add_bars(std::string_view tag,
                           std::span<const int64_t> counts) {
  std::vector<double> limits(counts.size());
  std::iota(limits.begin(), limits.end(), 0.5);
  const std::vector<double> bars(counts.begin(), counts.end());
  double num = 0;
  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i < bars.size(); ++i) {
    const auto at = static_cast<double>(i);
    num += bars[i];
    sum += bars[i] * at;
    squares += bars[i] * at * at;
  }
  ProtobufMessage histogram;
  histogram.real(kMin, -0.5)
      .real(kMax, static_cast<double>(bars.size()) - 0.5)
      .real(kNum, num)
      .real(kSum, sum)
      .real(kSumSquares, squares)
      .reals(kBucketLimit, limits)
      .reals(kBucket, bars);
  ProtobufMessage message;
  message.text(kTag, tag).message(kHistogram, histogram);
  summary_.message(kValue, message);
}

void EventValues::add_settings(const std::map<std::string, Json>& settings) {
  ProtobufMessage start;
  for (const auto& [name, value] : settings) {
    ProtobufMessage entry;
    entry.text(kKey, name).message(kEntry, setting(value));
    start.message(kSettings, entry);
  }
  ProtobufMessage content;
  content.message(kSessionStart, start);
  // The plugin wants some tensor with it.
  ProtobufMessage message;
  message.text(kTag, "_hparams_/session_start_info")
      .message(kMetadata, plugin("hparams", content.bytes()))
      .message(kTensor, one_of(kFloatType).real32(kFloatValue, 0));
  summary_.message(kValue, message);
}

std::string first_record(double seconds) {
  ProtobufMessage event;
  event.real(kWallTime, seconds).text(kFileVersion, "brain.Event:2");
  return framed(event);
}

std::string restart_record(double seconds) {
  ProtobufMessage session;
  session.integer(kSessionStatus, kStart);
  ProtobufMessage event;
  event.real(kWallTime, seconds)
      .integer(kStep, 0)
      .message(kSessionLog, session);
  return framed(event);
}

std::string event_record(int64_t step, double seconds,
                         const EventValues& values) {
  ProtobufMessage event;
  event.real(kWallTime, seconds)
      .integer(kStep, step)
      .message(kSummary, values.summary());
  return framed(event);
}

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  constexpr uint32_t kByte = 0xFF;
  constexpr int kByteBits = 8;
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes) {
    crc =
        kTable[(crc ^ static_cast<uint8_t>(byte)) & kByte] ^ (crc >> kByteBits);
  }
  return ~crc;
}

}  // namespace annuli::report
