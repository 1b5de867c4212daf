#include "annuli/verify/verdict.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/json.h"

namespace annuli::verify {
namespace {

Verdict make(std::string check, std::string aspect, double measured,
             double limit, bool at_least) {
  Verdict verdict;
  verdict.check = std::move(check);
  verdict.aspect = std::move(aspect);
  verdict.measured = measured;
  verdict.limit = limit;
  verdict.at_least = at_least;
  // Comparisons with NaN are false: NaN never passes.
  verdict.passed = at_least ? measured >= limit : measured <= limit;
  return verdict;
}

std::string place(const Verdict& verdict) {
  std::string text;
  if (verdict.layer >= 0) text += fmt::format(", layer {}", verdict.layer);
  if (!verdict.tensor.empty()) text += ", " + verdict.tensor;
  return text;
}

}  // namespace

Verdict at_most(std::string check, std::string aspect, double measured,
                double limit) {
  return make(std::move(check), std::move(aspect), measured, limit, false);
}

Verdict at_least(std::string check, std::string aspect, double measured,
                 double limit) {
  return make(std::move(check), std::move(aspect), measured, limit, true);
}

double worse(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

Json to_json(const Verdict& verdict) {
  Json json = {
      {"check", verdict.check},       {"aspect", verdict.aspect},
      {"passed", verdict.passed},     {"allowed", verdict.allowed},
      {"measured", verdict.measured}, {"limit", verdict.limit},
      {"at_least", verdict.at_least},
  };
  if (verdict.is_advice) json["is_advice"] = true;
  if (verdict.layer >= 0) json["layer"] = verdict.layer;
  if (!verdict.tensor.empty()) json["tensor"] = verdict.tensor;
  if (!verdict.note.empty()) json["note"] = verdict.note;
  if (!verdict.data.is_null()) json["data"] = verdict.data;
  return json;
}

Json to_json(const std::vector<Verdict>& verdicts) {
  Json list = Json::array();
  for (const Verdict& verdict : verdicts) list.push_back(to_json(verdict));
  return list;
}

std::string to_line(const Verdict& verdict) {
  const char* outcome = verdict.passed      ? "pass"
                        : verdict.is_advice ? "warning"
                        : verdict.allowed   ? "FAIL (allowed)"
                                            : "FAIL";
  std::string line =
      fmt::format("{:<14} {:<20} {}: {:.3g} {} {:.3g}", outcome, verdict.check,
                  verdict.aspect, verdict.measured,
                  verdict.at_least ? ">=" : "<=", verdict.limit);
  if (!verdict.note.empty()) line += "  (" + verdict.note + ")";
  if (!verdict.passed) line += place(verdict);
  return line;
}

void name_culprit(std::vector<Verdict>& verdicts) {
  std::string tensor;
  for (const Verdict& verdict : verdicts) {
    if (!verdict.passed && tensor.empty()) tensor = verdict.tensor;
  }
  for (Verdict& verdict : verdicts) {
    if (!verdict.passed && verdict.tensor.empty()) verdict.tensor = tensor;
  }
}

void allow(std::vector<Verdict>& verdicts,
           const std::vector<std::string>& names) {
  for (Verdict& verdict : verdicts) {
    verdict.allowed =
        std::find(names.begin(), names.end(), verdict.check) != names.end();
  }
}

void require(const std::vector<Verdict>& verdicts) {
  for (const Verdict& verdict : verdicts) {
    if (!verdict.stops()) continue;
    throw VerdictError(fmt::format(
        "{} failed ({}): measured {:.6g}, limit {} {:.6g}{}{}; --allow {} "
        "turns this into a warning",
        verdict.check, verdict.aspect, verdict.measured,
        verdict.at_least ? ">=" : "<=", verdict.limit, place(verdict),
        verdict.note.empty() ? "" : " (" + verdict.note + ")", verdict.check));
  }
}

}  // namespace annuli::verify
