#include "annuli/run/first_state.h"

#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/config/field.h"
#include "annuli/core/error.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/run/records.h"

namespace annuli::run {
namespace {

FirstState fresh(const Plan& plan, int64_t tokenizer_vocab_size,
                 const NumberTypes& numbers, at::Device device) {
  const ModelConfig config = model_config(plan.model, tokenizer_vocab_size);
  Transformer model(config, numbers, device);
  initialize(model, static_cast<uint64_t>(plan.seed));
  Lineage lineage;
  append(lineage, lineage_record("initialize", {{"config", to_json(config)}},
                                 static_cast<uint64_t>(plan.seed), "",
                                 content_hash(model)));
  const size_t rows = model.table().size();
  return {std::move(model), std::vector<optim::TensorState>(rows),
          std::move(lineage)};
}

// AdamW's moments are the same in 32 and in 8 bits; other optimizers' state is
// of no use to one another.
bool can_go_on(const std::string& saved, OptimizerType type) {
  const std::string wanted(word_of(type));
  return saved == wanted ||
         (saved.starts_with("adamw") && wanted.starts_with("adamw"));
}

std::vector<optim::TensorState> states_of(const ModelFile& file,
                                          const Transformer& model,
                                          OptimizerType type) {
  std::vector<optim::TensorState> states(model.table().size());
  const auto saved =
      file.format() == "folder" ? OptimizerFile::open(file.path()) : nullptr;
  if (!saved) return states;
  for (size_t row = 0; row < states.size(); ++row) {
    const std::string& name = model.table()[row].name;
    const auto found = saved->rows().find(name);
    if (found == saved->rows().end()) continue;
    set_row(states[row], found->second);
    if (!can_go_on(saved->optimizer(), type)) {
      states[row].step = 0;
      continue;
    }
    optim::visit_parts(states[row], [&](const char* part, at::Tensor& tensor) {
      const at::Tensor read = saved->part(part, name);
      if (!read.defined()) return;
      const auto shape = optim::part_shape(part, model.table()[row].shape());
      if (read.sizes() != at::IntArrayRef(shape)) {
        user_error("reading {}: '{}.{}' has shape {}, expected {}",
                   saved->tensors().path().string(), part, name,
                   to_string(read.sizes().vec()), to_string(shape));
      }
      tensor = kernels::owned_copy(read).to(model.device());
    });
  }
  return states;
}

// The file's lineage up to the model as it was loaded: begun if there is none,
// and with a record for a change of the type.
Lineage loaded_lineage(const ModelFile& file, const Transformer& model,
                       const std::string& from) {
  Lineage lineage = file.lineage().value_or(Lineage());
  const std::string hash = content_hash(model);
  if (lineage.empty()) {
    append(lineage, lineage_record("open", {{"from", from}}, 0, "", hash));
  } else if (lineage.back().child != hash) {
    append(lineage, lineage_record("open", {{"from", from}}, 0,
                                   lineage.back().child, hash));
  }
  return lineage;
}

FirstState from_file(const Plan& plan, int64_t tokenizer_vocab_size,
                     const NumberTypes& numbers, at::Device device) {
  const ModelFile file(plan.model.from);
  if (tokenizer_vocab_size > file.config().vocab_size) {
    user_error(
        "starting from {}: the tokenizer {} has {} tokens, the model knows {}; "
        "give the tokenizer that it was trained with",
        plan.model.from, plan.tokenizer, tokenizer_vocab_size,
        file.config().vocab_size);
  }
  require_finite(file, "starting from");
  Transformer model = load_model(
      file,
      {.dtype = numbers.weights, .device = device, .coded = numbers.coded});
  model.set_products(numbers.products);
  auto states = states_of(file, model, plan.optimizer.type);
  Lineage lineage = loaded_lineage(file, model, plan.model.from);
  return {std::move(model), std::move(states), std::move(lineage)};
}

}  // namespace

FirstState first_state(const Plan& plan, int64_t tokenizer_vocab_size,
                       at::Device device) {
  const NumberTypes numbers = number_types(plan.precision);
  return plan.model.from.empty()
             ? fresh(plan, tokenizer_vocab_size, numbers, device)
             : from_file(plan, tokenizer_vocab_size, numbers, device);
}

}  // namespace annuli::run
