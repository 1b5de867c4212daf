#include "annuli/run/early_end.h"

#include "annuli/budget/phase_steps.h"

namespace annuli::run {

Plan with_early_ends(Plan plan, const std::vector<EarlyEnd>& ends) {
  for (const EarlyEnd& end : ends) {
    budget::end_early(plan, end.phase, end.steps);
  }
  return plan;
}

Json to_json(const std::vector<EarlyEnd>& ends) {
  Json list = Json::array();
  for (const EarlyEnd& end : ends) {
    list.push_back({{"phase", end.phase}, {"steps", end.steps}});
  }
  return list;
}

std::vector<EarlyEnd> early_ends_from(const Json& json) {
  std::vector<EarlyEnd> ends;
  for (const Json& end : json) {
    ends.push_back({.phase = end.at("phase"), .steps = end.at("steps")});
  }
  return ends;
}

}  // namespace annuli::run
