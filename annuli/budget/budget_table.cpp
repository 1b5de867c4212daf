#include "annuli/budget/budget_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/core/text.h"

namespace annuli::budget {
namespace {

using Row = std::vector<std::string>;

std::string bytes(int64_t count) {
  return format_bytes(static_cast<double>(count));
}

std::string count(int64_t parameters) {
  return fmt::format("{:.1f} M", static_cast<double>(parameters) / 1e6);
}

Row row_of(const PhaseBudget& phase) {
  return {phase.name,
          count(phase.parameters.total),
          count(phase.parameters.active),
          bytes(phase.weights),
          bytes(phase.optimizer),
          bytes(phase.gradients),
          bytes(phase.activations),
          bytes(phase.peak.bytes),
          phase.peak.name,
          bytes(phase.checkpoint_bytes),
          fmt::format("{:.3g} T", phase.step_flops / 1e12),
          phase.seconds ? format_duration(*phase.seconds) : "-"};
}

// What sharing adds, a row for each phase.
std::string sharing_table(const PlanBudget& budget) {
  std::vector<Row> rows = {
      {"phase", "sent a step", "computing", "sending", "step", "unhidden"}};
  for (const PhaseBudget& phase : budget.phases) {
    Row row = {phase.name, bytes(phase.sending.bytes), "-", "-", "-", "-"};
    if (phase.step) {
      const auto& [computing, sending, together] = *phase.step;
      row = {phase.name,
             row[1],
             format_duration(computing),
             format_duration(sending),
             format_duration(together),
             format_duration(computing + sending)};
    }
    rows.push_back(std::move(row));
  }
  const Link& link = budget.sharing.link;
  return fmt::format(
      "\nof each of {} processes, which send {}/s with a latency of {:g} us, "
      "while they compute as far as they can (unhidden: if they did not)\n{}",
      budget.sharing.processes, format_bytes(link.bytes_per_second),
      link.latency * 1e6, aligned(rows, Align::kRight));
}

// A row for each way to hold parts.
std::string shards_table(const PlanBudget& budget,
                         std::optional<int64_t> limit) {
  std::vector<Row> rows = {
      {"parallel.shard", "peak memory", "phase", "when", "sent a step"}};
  if (limit) rows[0].push_back("fits " + bytes(*limit));
  for (const ShardPeak& shard : budget.all_shards) {
    Row row = {std::string(word_of(shard.shard)), bytes(shard.peak.bytes),
               shard.phase, shard.peak.name, bytes(shard.step_bytes_sent)};
    if (limit) row.push_back(shard.peak.bytes <= *limit ? "yes" : "no");
    rows.push_back(std::move(row));
  }
  return fmt::format(
      "\nthe plan has parallel.shard {}; each process would need\n{}",
      word_of(budget.shard), aligned(rows, Align::kRight));
}

Json shards_json(const PlanBudget& budget, std::optional<int64_t> limit) {
  Json all = Json::array();
  for (const ShardPeak& shard : budget.all_shards) {
    Json json = {{"shard", std::string(word_of(shard.shard))},
                 {"peak_memory_bytes", shard.peak.bytes},
                 {"phase", shard.phase},
                 {"peak_moment", shard.peak.name},
                 {"step_bytes_sent", shard.step_bytes_sent}};
    if (limit) json["fits"] = shard.peak.bytes <= *limit;
    all.push_back(std::move(json));
  }
  return all;
}

}  // namespace

std::string to_table(const PlanBudget& budget, std::optional<int64_t> limit) {
  std::vector<Row> rows = {
      {"phase", "parameters", "active", "weights", "optimizer", "gradients",
       "activations", "peak memory", "when", "disk", "FLOP a step", "time"}};
  for (const PhaseBudget& phase : budget.phases) rows.push_back(row_of(phase));
  std::string text = aligned(rows, Align::kRight);
  text += fmt::format(
      "\npeak memory {} (phase {}), {} of it the program's own; disk {}, {} "
      "at its most\n",
      bytes(budget.peak_memory()), budget.largest().name, bytes(budget.program),
      bytes(budget.kept_disk), bytes(budget.peak_disk));
  if (budget.sharing.processes > 1) text += sharing_table(budget);
  if (!budget.all_shards.empty()) text += shards_table(budget, limit);
  if (!budget.rates) return text;
  double seconds = 0;
  for (const PhaseBudget& phase : budget.phases) seconds += *phase.seconds;
  return text + fmt::format(
                    "time {} for the matrix products at {:.0f} GFLOP/s and the "
                    "updates at {:.1f} GB/s, as {}; a run takes "
                    "longer by what else it does\n",
                    format_duration(seconds), budget.rates->product_flops / 1e9,
                    budget.rates->memory_bytes / 1e9,
                    budget.rates->are_given ? "given" : "measured now");
}

Json to_json(const PlanBudget& budget, std::optional<int64_t> limit) {
  Json phases = Json::array();
  for (const PhaseBudget& phase : budget.phases) {
    Json moments = Json::array();
    for (const Moment& moment : phase.moments) {
      moments.push_back(
          {{"name", moment.name}, {"bytes", moment.bytes + budget.program}});
    }
    Json json = {
        {"name", phase.name},
        {"parameters", phase.parameters.total},
        {"active_parameters", phase.parameters.active},
        {"weight_bytes", phase.weights},
        {"optimizer_bytes", phase.optimizer},
        {"gradient_bytes", phase.gradients},
        {"activation_bytes", phase.activations},
        {"peak_memory_bytes", phase.peak.bytes},
        {"peak_moment", phase.peak.name},
        {"moments", moments},
        {"checkpoint_bytes", phase.checkpoint_bytes},
        {"state_bytes", phase.state_bytes},
        {"step_flops", phase.step_flops},
        {"counted_flops", phase.counted_flops},
        {"train_flops", phase.train_flops},
        {"proof_flops", phase.proof_flops},
    };
    if (budget.sharing.processes > 1) {
      json["step_bytes_sent"] = phase.sending.bytes;
    }
    if (phase.seconds) {
      json["seconds"] = *phase.seconds;
      json["step_seconds"] = phase.step->computing;
      json["step_seconds_sending"] = phase.step->sending;
      json["step_seconds_together"] = phase.step->together;
    }
    phases.push_back(std::move(json));
  }
  Json json = {{"processes", budget.sharing.processes},
               {"program_bytes", budget.program},
               {"peak_memory_bytes", budget.peak_memory()},
               {"kept_disk_bytes", budget.kept_disk},
               {"peak_disk_bytes", budget.peak_disk},
               {"phases", phases}};
  if (limit) json["memory_limit_bytes"] = *limit;
  if (!budget.all_shards.empty()) {
    json["shard"] = std::string(word_of(budget.shard));
    json["all_shards"] = shards_json(budget, limit);
  }
  if (budget.rates) {
    json["product_flops_per_second"] = budget.rates->product_flops;
    json["memory_bytes_per_second"] = budget.rates->memory_bytes;
  }
  return json;
}

}  // namespace annuli::budget
