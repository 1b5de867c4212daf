#include "annuli/profile/trace_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string_view>

#include "annuli/core/file.h"
#include "annuli/core/json.h"

namespace annuli::profile {
namespace {

constexpr std::string_view kBegins =
    "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";

const char* category(EventKind kind) {
  switch (kind) {
    case EventKind::kOperator:
      return "operator";
    case EventKind::kBackwardNode:
      return "backward node";
    case EventKind::kScope:
      return "scope";
  }
  return "";
}

std::string metadata(const char* what, size_t process, size_t thread,
                     const std::string& name) {
  const Json line = {{"ph", "M"},
                     {"name", what},
                     {"pid", process},
                     {"tid", thread},
                     {"args", {{"name", name}}}};
  return line.dump();
}

// Microseconds, exact to the nanosecond: a double in JSON's shortest form would
// be too, but no nested event may seem to end after the one around it.
std::string microseconds(int64_t nanoseconds) {
  return fmt::format("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
}

std::string complete(const Event& event, size_t process, int64_t origin) {
  Json arguments = Json::object();
  const ProductShape& product = event.product;
  if (product.batch > 0) {
    arguments = {{"dtype", event.dtype},
                 {"shape", {product.batch, product.m, product.k, product.n}}};
  }
  return fmt::format(
      R"({{"ph":"X","name":{},"cat":"{}","pid":{},"tid":{},"ts":{},"dur":{},"args":{}}})",
      Json(event.name).dump(), category(event.kind), process, event.thread,
      microseconds(event.begin - origin), microseconds(event.end - event.begin),
      arguments.dump());
}

int64_t first_begin(const Recording& recording) {
  int64_t first = std::numeric_limits<int64_t>::max();
  for (const Event& event : recording.events) {
    first = std::min(first, event.begin);
  }
  return first;
}

}  // namespace

bool is_trace(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(kBegins.size(), 0);
  return file.read(start.data(), std::ssize(start)) && start == kBegins;
}

void write_trace(const std::filesystem::path& path,
                 const std::vector<NamedRecording>& recordings) {
  std::string text(kBegins);
  const char* separator = "";
  const auto add = [&](const std::string& line) {
    text.append(separator).append(line);
    separator = ",\n";
  };
  for (size_t process = 0; process < recordings.size(); ++process) {
    const Recording& recording = recordings[process].recording;
    add(metadata("process_name", process, 0, recordings[process].name));
    for (size_t thread = 0; thread < recording.threads.size(); ++thread) {
      add(metadata("thread_name", process, thread, recording.threads[thread]));
    }
    const int64_t origin = first_begin(recording);
    for (const Event& event : recording.events) {
      add(complete(event, process, origin));
    }
  }
  text += "\n]}\n";
  write_file_atomically(path, text);
}

}  // namespace annuli::profile
