#include "annuli/report/loss_curve.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/core/text.h"
#include "annuli/report/kept_steps.h"

namespace annuli::report {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 240;
constexpr double kLeft = 48;
constexpr double kRight = 8;
constexpr double kTop = 20;
constexpr double kBottom = 28;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// From numbers to places in the picture.
struct Scale {
  double from;
  double to;
  double begin;
  double end;

  double operator()(double value) const {
    const double share = to > from ? (value - from) / (to - from) : 0;
    return begin + share * (end - begin);
  }
};

// Round numbers in the range, about four of them.
std::vector<double> ticks_of(const Scale& scale) {
  const double range = scale.to - scale.from;
  if (!(range > 0)) return {scale.from};
  const double power = std::pow(10, std::floor(std::log10(range / 4)));
  double step = power;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (range / step > 5) step = factor * power;
  }
  std::vector<double> ticks;
  for (double tick = std::ceil(scale.from / step) * step; tick <= scale.to;
       tick += step) {
    ticks.push_back(tick);
  }
  return ticks;
}

std::string label(double x, double y, const char* anchor,
                  const std::string& text) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}"
      "</text>\n",
      x, y, anchor, escaped(text));
}

std::string rule(double x1, double y1, double x2, double y2,
                 const char* more = "") {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" "
      "y2=\"{:.1f}\" stroke=\"#8884\"{}/>\n",
      x1, y1, x2, y2, more);
}

std::string axes(const Scale& x, const Scale& y) {
  std::string out;
  for (const double tick : ticks_of(y)) {
    out += rule(kLeft, y(tick), kWidth - kRight, y(tick)) +
           label(kLeft - 6, y(tick) + 4, "end", fmt::format("{:g}", tick));
  }
  for (const double tick : ticks_of(x)) {
    out += label(x(tick), kHeight - kBottom + 18, "middle", format_count(tick));
  }
  return out;
}

}  // namespace

std::string loss_curve_svg(const RunHistory& history, int32_t last) {
  const Steps& steps = history.steps;
  std::vector<size_t> shown;
  for (const size_t i : kept_steps(history)) {
    if (steps.phase[i] <= last) shown.push_back(i);
  }
  if (shown.empty() || steps.phase[shown.back()] != last) return "";
  const std::vector<double>& loss = steps.columns[kSmoothLoss];
  double lowest = loss[shown[0]];
  double highest = lowest;
  for (const size_t i : shown) {
    lowest = std::min(lowest, loss[i]);
    highest = std::max(highest, loss[i]);
  }
  const Scale x{0, steps.tokens[shown.back()], kLeft, kWidth - kRight};
  const Scale y{lowest, highest, kHeight - kBottom, kTop};
  std::string rules;
  std::string points;
  int32_t phase = -1;
  for (const size_t i : shown) {
    const double at = x(steps.tokens[i]);
    if (steps.phase[i] != phase) {
      phase = steps.phase[i];
      if (phase > 0) {
        rules +=
            rule(at, kTop, at, kHeight - kBottom, " stroke-dasharray=\"4 3\"");
      }
      rules += label(at + 4, kTop - 6, "start", history.phases[phase]);
    }
    points += fmt::format("{:.1f},{:.1f} ", at, y(loss[i]));
  }
  points.pop_back();
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:g} {1:g}\" "
      "width=\"{0:g}\" height=\"{1:g}\" role=\"img\" font-size=\"11\" "
      "font-family=\"sans-serif\" fill=\"#888\">\n"
      "<title>Smoothed loss in nats per token against tokens: from {2:.3f} to "
      "{3:.3f}</title>\n{4}{5}"
      "<polyline fill=\"none\" stroke=\"#3b82f6\" stroke-width=\"1.5\" "
      "points=\"{6}\"/>\n</svg>\n",
      kWidth, kHeight, loss[shown[0]], loss[shown.back()], axes(x, y), rules,
      points);
}

}  // namespace annuli::report
