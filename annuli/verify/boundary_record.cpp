#include "annuli/verify/boundary_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace annuli::verify {
namespace {

// Logits equal to 1e-5 relative, of size up to 1e1, move a loss by up to 1e-4.
constexpr double kLogitSize = 10;
constexpr double kLeastLimit = 1e-5;

}  // namespace

Verdict boundary_record(double loss_before, double loss_after, bool exact,
                        double budget, double logits_limit) {
  const double jump = loss_after - loss_before;
  // A fall of the loss is a change too where none was promised.
  Verdict verdict =
      exact ? at_most("boundary_record", "change of the probe loss, nats",
                      std::abs(jump),
                      kLogitSize * std::max(kLeastLimit, logits_limit))
            : at_most("boundary_record", "rise of the probe loss, nats", jump,
                      budget);
  verdict.note = fmt::format("{:.6f} -> {:.6f}", loss_before, loss_after);
  verdict.data = {{"loss_before", loss_before}, {"loss_after", loss_after}};
  return verdict;
}

}  // namespace annuli::verify
