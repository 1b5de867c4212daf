#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "annuli/core/json.h"
#include "annuli/report/protobuf_message.h"

// Records of a TensorBoard event file: messages of tensorflow's event.proto and
// summary.proto, each framed by its length and masked CRC-32C as in
// record_writer.h. A file is `first_record` and then any number of
// `event_record`; it can grow while TensorBoard reads it.
namespace annuli::report {

// What is told of one step.
class EventValues {
 public:
  // As float32, which is what TensorBoard keeps.
  void add_scalar(std::string_view tag, double value);
  // Shown as Markdown.
  void add_text(std::string_view tag, std::string_view text);
  // counts[i] at i: a bar for each expert, for example.
  void add_bars(std::string_view tag, std::span<const int64_t> counts);
  // Settings of the run: booleans, numbers, texts.
  void add_settings(const std::map<std::string, Json>& settings);

  bool empty() const { return summary_.bytes().empty(); }
  const ProtobufMessage& summary() const { return summary_; }

 private:
  ProtobufMessage summary_;
};

// `seconds` since 1970.
std::string first_record(double seconds);
std::string event_record(int64_t step, double seconds,
                         const EventValues& values);
// Readers drop all that this file and those before it told of any step.
std::string restart_record(double seconds);

// CRC-32C, unmasked (RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

}  // namespace annuli::report
