#include "annuli/parallel/failure_report.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "annuli/core/json.h"

namespace annuli::parallel {
namespace {

int descriptor() {
  const char* text = std::getenv(kReportVariable);
  if (text == nullptr) return -1;
  const std::string_view digits = text;
  int number = -1;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

bool write_all(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(to, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

bool report_failure(int status, std::string_view text, FailureOf whose) {
  const int to = descriptor();
  if (to < 0) return false;
  const Json report = {status, whose == FailureOf::kAnother, text};
  return write_all(
      to, report.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<FailureReport> read_report(const std::string& bytes) {
  try {
    const Json report = Json::parse(bytes.substr(0, bytes.find('\n')));
    return FailureReport{.status = report.at(0).get<int>(),
                         .whose = report.at(1).get<bool>() ? FailureOf::kAnother
                                                           : FailureOf::kThis,
                         .text = report.at(2).get<std::string>()};
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace annuli::parallel
