#include "annuli/run/console.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "annuli/config/field.h"
#include "annuli/core/json.h"
#include "annuli/core/notice.h"
#include "annuli/core/say.h"
#include "annuli/core/terminal.h"
#include "annuli/core/text.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/model/tensor_table.h"

namespace annuli::run {
namespace {

// Those that come first in a list are lower.
int severity_of(const verify::Verdict& verdict) {
  if (verdict.passed) return 3;
  if (verdict.is_advice) return 2;
  return verdict.allowed ? 1 : 0;
}

// The line's first word green, yellow or red, where there are colours.
std::string colored(const std::string& line, const verify::Verdict& verdict) {
  if (!shows_color(STDOUT_FILENO)) return line;
  const char* color = verdict.passed    ? "\033[32m"
                      : verdict.stops() ? "\033[1;31m"
                                        : "\033[33m";
  const size_t end = line.find(' ');
  return color + line.substr(0, end) + "\033[0m" + line.substr(end);
}

}  // namespace

void warn_of_slow_numbers(const Plan& plan, at::Device device,
                          bool bf16_is_fast) {
  const bool bf16 = number_types(plan.precision).products == at::kBFloat16;
  if (!bf16 || !kernels::is_host(device) || bf16_is_fast) return;
  warn(
      "precision {}: this processor multiplies bf16 no faster than fp32; it "
      "saves memory here, not time",
      word_of(plan.precision));
}

void print_phase(const Plan& plan, size_t phase, const ModelConfig& config) {
  const ParameterCount count = count_parameters(config);
  std::string shape = fmt::format(
      "{} x {}, {} heads, ffn {}", config.num_hidden_layers, config.hidden_size,
      config.num_attention_heads, config.intermediate_size);
  std::string parameters = format_count(static_cast<double>(count.total));
  if (config.is_mixture()) {
    shape += fmt::format(", {} experts top-{}", config.num_experts,
                         config.num_experts_per_tok);
    parameters += fmt::format(" ({} active)",
                              format_count(static_cast<double>(count.active)));
  }
  say("\nphase {}/{}  {}: {}: {} parameters\n", phase + 1, plan.phases.size(),
      plan.phases[phase].name, shape, parameters);
}

void print_growth(const Grown& grown) {
  say("  grown and proved in {}: {} {}\n", format_duration(grown.seconds),
      grown.recipe.op, grown.recipe.arguments.dump());
  print_verdicts(grown.verdicts);
  say("  probe loss {:.6f} -> {:.6f}, jump {:+.2e}\n", grown.loss_before,
      grown.loss_after, grown.loss_after - grown.loss_before);
}

void print_rollback(const Json& line) {
  say("  {}\n  ROLLBACK {} of phase {}: back to step {} of phase {}, learning "
      "rate times {:g}\n",
      line.at("reason").get<std::string>(), line.at("rollbacks").get<int64_t>(),
      line.at("phase").get<std::string>(), line.at("to_step").get<int64_t>(),
      line.at("to_phase").get<std::string>(),
      line.at("lr_factor").get<double>());
}

void print_verdicts(const std::vector<verify::Verdict>& verdicts) {
  if (verdicts.empty()) return;
  const auto passed = std::ranges::count_if(verdicts, &verify::Verdict::passed);
  std::string text =
      fmt::format("  {} of {} checks pass\n", passed, verdicts.size());
  std::vector<const verify::Verdict*> order;
  for (const verify::Verdict& verdict : verdicts) order.push_back(&verdict);
  std::ranges::stable_sort(order, {}, [](const verify::Verdict* verdict) {
    return severity_of(*verdict);
  });
  for (const verify::Verdict* verdict : order) {
    text += "  " + colored(verify::to_line(*verdict), *verdict) + "\n";
  }
  say_text(text);
}

StepLines::StepLines(const std::string& phase, int64_t first_step,
                     int64_t max_steps, int64_t logging_steps)
    : first_step_(first_step),
      max_steps_(max_steps),
      logging_steps_(logging_steps),
      bar_(std::make_unique<Progress>("training " + phase, max_steps,
                                      ProgressUnit::kSteps, first_step - 1)) {}

void StepLines::print(const train::StepRecord& record, double seconds) {
  spent_ += seconds;
  const bool is_due =
      record.step % logging_steps_ == 0 || record.step == max_steps_;
  if (is_due || record.loss_rise > 0) print_line(record, seconds);
  bar_->note(fmt::format("loss {:.4f}", record.loss));
  bar_->advance();
  if (record.step == max_steps_) bar_->finish();
}

void StepLines::print_line(const train::StepRecord& record,
                           double seconds) const {
  const auto done = static_cast<double>(record.step - first_step_ + 1);
  const double left =
      spent_ / done * static_cast<double>(max_steps_ - record.step);
  std::string notes;
  if (!record.epochs.empty()) {
    notes += fmt::format("  epoch {:.2f}", fmt::join(record.epochs, ", "));
  }
  if (record.loss_rise > 0) {
    notes += fmt::format("  SPIKE +{:.2f}", record.loss_rise);
  }
  if (!record.load.empty()) {
    notes += fmt::format("  load {:.2f}", train::load_imbalance(record));
  }
  say("  step {:>{}}/{}  loss {:.4f}  grad {:.3g}  lr {:.2e}{}  {:.0f} "
      "tok/s  ETA {}\n",
      record.step, std::to_string(max_steps_).size(), max_steps_, record.loss,
      record.grad_norm, record.learning_rate, notes,
      static_cast<double>(record.tokens) / seconds, format_duration(left));
}

}  // namespace annuli::run
