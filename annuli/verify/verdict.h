#pragma once

#include <string>
#include <vector>

#include "annuli/core/json.h"

// The outcome of one named check: what was measured, the limit, pass or fail.
namespace annuli::verify {

struct Verdict {
  std::string check;   // "functional_identity", ...
  std::string aspect;  // what exactly: "logits, training dispatch"
  bool passed = false;
  bool allowed = false;    // failed, but the user allows it by name
  bool is_advice = false;  // a failure is no more than a warning
  double measured = 0;
  double limit = 0;
  bool at_least = false;  // passes when measured >= limit, else <=
  int64_t layer = -1;     // first that differs, if one does
  std::string tensor;     // first that differs, if one does
  std::string note;       // one line for people
  Json data;              // further figures

  bool stops() const { return !passed && !allowed && !is_advice; }
};

// passed = measured <= limit (or >= if at_least); NaN never passes.
Verdict at_most(std::string check, std::string aspect, double measured,
                double limit);
Verdict at_least(std::string check, std::string aspect, double measured,
                 double limit);

// The larger of two distances; NaN, once seen, stays.
double worse(double a, double b);

Json to_json(const Verdict& verdict);
Json to_json(const std::vector<Verdict>& verdicts);  // an array

// "functional_identity  logits  1.2e-07 <= 1.0e-05  pass"
std::string to_line(const Verdict& verdict);

// A failed verdict that names no tensor takes the first that another failed one
// names.
void name_culprit(std::vector<Verdict>& verdicts);

// Marks failures of the named checks as allowed.
void allow(std::vector<Verdict>& verdicts,
           const std::vector<std::string>& names);

// Throws VerdictError for the first verdict that stops: one line with check,
// layer, tensor, measured and limit.
void require(const std::vector<Verdict>& verdicts);

}  // namespace annuli::verify
