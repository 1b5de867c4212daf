#include "annuli/train/history.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"

namespace annuli::train {
namespace {

// Of what `before` is the checksum of, with `text` behind it.
uint32_t checksum(uint32_t before, std::string_view text) {
  return static_cast<uint32_t>(crc32_z(
      before, reinterpret_cast<const Bytef*>(text.data()), text.size()));
}

}  // namespace

Json to_json(const HistoryMark& mark) {
  return {{"history_bytes", mark.bytes}, {"history_crc32", mark.crc32}};
}

HistoryMark mark_from_json(const Json& record) {
  return {.bytes = record.at("history_bytes"),
          .crc32 = record.at("history_crc32")};
}

void require_unchanged(const std::filesystem::path& path,
                       const HistoryMark& mark) {
  if (mark.bytes == 0) return;
  const std::string text = read_file(path);
  if (std::cmp_less(text.size(), mark.bytes)) {
    user_error(
        "reading the history {}: it has {} bytes, expected at least {}; put it "
        "back, or start over with --force",
        path.string(), text.size(), mark.bytes);
  }
  const auto written = std::string_view(text).substr(0, mark.bytes);
  if (checksum(0, written) == mark.crc32) return;
  user_error(
      "reading the history {}: its first {} bytes are not those that were "
      "written (their checksum differs); put it back, or start over with "
      "--force",
      path.string(), mark.bytes);
}

History::History(std::filesystem::path path, const HistoryMark& mark,
                 const parallel::ProcessGroup& group)
    : path_(std::move(path)), mark_(mark) {
  if (!group.is_first()) return;
  require_unchanged(path_, mark_);
  descriptor_ = ::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    user_error("opening the history {}: {}", path_.string(),
               std::strerror(errno));
  }
  if (::ftruncate(descriptor_, mark_.bytes) != 0 ||
      ::lseek(descriptor_, 0, SEEK_END) != mark_.bytes) {
    const int reason = errno;
    ::close(descriptor_);
    user_error("cutting the history {} back to {} bytes: {}", path_.string(),
               mark_.bytes, std::strerror(reason));
  }
}

History::~History() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void History::append(const Json& record) {
  if (descriptor_ < 0) return;
  const std::string line = record.dump() + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n =
        ::write(descriptor_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      user_error("writing the history {}: {}", path_.string(),
                 std::strerror(errno));
    }
    done += static_cast<size_t>(n);
  }
  mark_.bytes += std::ssize(line);
  mark_.crc32 = checksum(mark_.crc32, line);
  if (told_) told_(record);
}

void History::sync() {
  if (descriptor_ < 0 || ::fsync(descriptor_) == 0) return;
  user_error("writing the history {}: {}", path_.string(),
             std::strerror(errno));
}

Json parse_history_line(const std::filesystem::path& path,
                        std::string_view line, size_t number) {
  Json record(Json::value_t::discarded);
  if (!is_too_deep(line)) {
    record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  }
  if (!record.is_discarded()) return record;
  user_error("reading the history {}: line {} is not JSON", path.string(),
             number);
}

bool visit_history(const std::filesystem::path& path,
                   const std::function<void(Json)>& visit) {
  const std::string text = read_file(path);
  size_t lines = 0;
  size_t begin = 0;
  for (; begin < text.size(); ++lines) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) return true;
    const auto line = std::string_view(text).substr(begin, end - begin);
    visit(parse_history_line(path, line, lines + 1));
    begin = end + 1;
  }
  return false;
}

std::vector<Json> read_history(const std::filesystem::path& path) {
  std::vector<Json> records;
  visit_history(path,
                [&](Json record) { records.push_back(std::move(record)); });
  return records;
}

}  // namespace annuli::train
