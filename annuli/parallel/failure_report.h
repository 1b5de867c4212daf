#pragma once

#include <optional>
#include <string>
#include <string_view>

// How a process that our launcher started tells it why it ends, so that the
// launcher prints one line for all of them.
namespace annuli::parallel {

enum class FailureOf {
  kThis,     // an error of this process
  kAnother,  // it ends because another one is lost
};

// True if a launcher listens: the caller then prints nothing.
bool report_failure(int status, std::string_view text,
                    FailureOf whose = FailureOf::kThis);

// The launcher's side.
struct FailureReport {
  int status = 0;
  FailureOf whose = FailureOf::kThis;
  std::string text;
};

// The variable that holds the number of the descriptor.
constexpr const char* kReportVariable = "ANNULI_REPORT";

// Nothing if it is none.
std::optional<FailureReport> read_report(const std::string& bytes);

}  // namespace annuli::parallel
