#pragma once

#include <cstddef>
#include <vector>

#include "annuli/report/run_history.h"

// Which steps of a long history a page shows.
namespace annuli::report {

// Up to this many steps are all shown.
constexpr size_t kAllSteps = 5000;

// Places in `history.steps`, rising. Of a longer history the steps are cut into
// 1200 spans of equal length, and of each span there are the first step, and
// those of lowest and highest loss and of highest gradient norm. So are the 400
// steps whose loss stands out most from both neighbours and the 200 with the
// largest `loss_rise`: a spike of one step is there however long the history,
// and beside others. So are the first and the last step of all, the 100 before
// and after each change of phase (of the first 20), and 500 at equal distances
// of those that were measured (update_ratio).
std::vector<size_t> kept_steps(const RunHistory& history);

// The same of the steps from `begin` up to `end` alone, which stand at other
// places than theirs: what a zoom into a long history shows.
std::vector<size_t> kept_steps(const RunHistory& history, size_t begin,
                               size_t end);

}  // namespace annuli::report
