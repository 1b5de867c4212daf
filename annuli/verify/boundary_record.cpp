#include "annuli/verify/boundary_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace annuli::verify {
namespace {

// Logits equal to 1e-5 relative, of size up to 1e1, move a loss by up to 1e-4.
constexpr double kLogitSize = 10;
constexpr double kLeastLimit = 1e-5;

// A loss of l nats needs logits that are l - ln V apart, so at least l / 2
// where l is above 2 ln V: 24 for 2^17 tokens. Rows of padding of 3e4 in a tied
// table make 1e5 nats of the probe, and rounding moves them as it moves logits.
double logit_size(double loss) { return std::max(kLogitSize, loss / 2); }

}  // namespace

Verdict boundary_record(double loss_before, double loss_after, bool exact,
                        double budget, double logits_limit) {
  const double jump = loss_after - loss_before;
  // A fall of the loss is a change too where none was promised.
  Verdict verdict =
      exact ? at_most(
                  "boundary_record", "change of the probe loss, nats",
                  std::abs(jump),
                  logit_size(loss_before) * std::max(kLeastLimit, logits_limit))
            : at_most("boundary_record", "rise of the probe loss, nats", jump,
                      budget);
  verdict.note = fmt::format("{:.6f} -> {:.6f}", loss_before, loss_after);
  verdict.data = {{"loss_before", loss_before}, {"loss_after", loss_after}};
  return verdict;
}

}  // namespace annuli::verify
