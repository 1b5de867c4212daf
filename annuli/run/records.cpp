#include "annuli/run/records.h"

#include <utility>

#include "annuli/core/json.h"
#include "annuli/core/memory.h"
#include "annuli/model/tensor_table.h"

namespace annuli::run {

namespace {

void add_measures(const train::StepMeasures& measures, Json& line) {
  line["update_ratio"] = measures.update_ratio;
  line["weight_rms"] = measures.weight_rms;
  line["stream_rms"] = measures.stream_rms;
  if (measures.copies_apart) line["copies_apart"] = *measures.copies_apart;
  if (measures.update_apart) line["update_apart"] = *measures.update_apart;
}

}  // namespace

Json step_json(const std::string& phase, const train::StepRecord& record,
               double seconds) {
  Json line = {
      {"type", "step"},
      {"phase", phase},
      {"step", record.step},
      {"loss", record.loss},
      {"grad_norm", record.grad_norm},
      {"learning_rate", record.learning_rate},
      {"tokens", record.tokens},
      {"tokens_per_second", static_cast<double>(record.tokens) / seconds},
      {"peak_memory_bytes", peak_resident_bytes()},
  };
  if (!record.epochs.empty()) line["epochs"] = record.epochs;
  if (record.loss_rise > 0) line["loss_rise"] = record.loss_rise;
  if (!record.load.empty()) {
    line["moe_aux_loss"] = record.aux_loss;
    line["moe_z_loss"] = record.z_loss;
    line["moe_load_imbalance"] = train::load_imbalance(record);
    line["dead_experts"] = train::dead_experts(record);
    line["expert_load"] = record.load;
  }
  if (record.measures) add_measures(*record.measures, line);
  return line;
}

Json boundary_json(const std::string& phase, const grow::Recipe& recipe,
                   const Grown& grown, std::optional<double> copies_apart) {
  Json line = {
      {"type", "boundary"},
      {"phase", phase},
      {"operator", recipe.op},
      {"arguments", recipe.arguments},
      {"exact", recipe.exact},
      {"probe_loss_before", grown.loss_before},
      {"probe_loss_after", grown.loss_after},
      {"jump", grown.loss_after - grown.loss_before},
      {"seconds", grown.seconds},
  };
  if (copies_apart) line["copies_apart"] = *copies_apart;
  return line;
}

Json rollback_json(const std::string& phase, int64_t from_step,
                   const std::string& reason, const std::string& to_phase,
                   const RunState& to) {
  return {
      {"type", "rollback"},        {"phase", phase},
      {"step", from_step},         {"reason", reason},
      {"to_phase", to_phase},      {"to_step", to.step},
      {"rollbacks", to.rollbacks}, {"lr_factor", to.lr_factor},
  };
}

Json phase_json(const std::string& phase, const ModelConfig& config,
                int64_t peak_bytes, double proof_seconds) {
  const ParameterCount count = count_parameters(config);
  return {
      {"type", "phase"},
      {"phase", phase},
      {"total_parameters", count.total},
      {"active_parameters", count.active},
      {"peak_memory_bytes", peak_bytes},
      {"proof_seconds", proof_seconds},
  };
}

void write_verdicts(const std::filesystem::path& path, const std::string& stage,
                    const std::vector<verify::Verdict>& verdicts) {
  Json file = Json::object();
  if (stage != "growth" && std::filesystem::exists(path)) {
    file = read_json(path);
  }
  file[stage] = verify::to_json(verdicts);
  write_json(path, file);
}

LineageRecord lineage_record(const std::string& op, Json arguments,
                             uint64_t seed, const std::string& parent,
                             const std::string& child) {
  LineageRecord record;
  record.op = op;
  record.arguments = std::move(arguments);
  record.seed = seed;
  record.parent = parent;
  record.child = child;
  record.versions = program_versions();
  return record;
}

LineageRecord growth_record(const grow::Recipe& recipe,
                            const std::string& parent, const std::string& child,
                            const std::vector<verify::Verdict>& verdicts) {
  LineageRecord record =
      lineage_record(recipe.op, recipe.arguments, recipe.seed, parent, child);
  record.tensors = grow::to_json(recipe).at("tensors");
  for (const verify::Verdict& verdict : verdicts) {
    record.verdicts.push_back(verify::to_json(verdict));
  }
  return record;
}

Json train_arguments(const TrainPlan& train) {
  Json arguments = {
      {"max_steps", train.max_steps},
      {"learning_rate", train.learning_rate},
      {"batch_size", train.batch_size},
      {"gradient_accumulation_steps", train.gradient_accumulation_steps}};
  if (train.micro_batch_size) {
    arguments["micro_batch_size"] = *train.micro_batch_size;
  }
  if (train.sequence_length) {
    arguments["sequence_length"] = *train.sequence_length;
  }
  return arguments;
}

Lineage without_tensor_maps(Lineage lineage) {
  for (LineageRecord& record : lineage) record.tensors = Json::array();
  return lineage;
}

}  // namespace annuli::run
