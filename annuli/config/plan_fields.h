#pragma once

#include <concepts>

#include "annuli/config/field.h"
#include "annuli/config/plan.h"

// The one list of a plan's fields. `visit_fields(visit, plan)` calls
// `visit(Field, member)` for each member, in the order of the file; a member is
// a scalar, an enumeration, an optional, a list, a section (a struct that has
// its own visit_fields), an optional section or a list of sections.
// Defaults are the members' initialisers.
namespace annuli {

// T is S or const S: one list serves readers and writers.
template <typename T, typename S>
concept Is = std::same_as<std::remove_const_t<T>, S>;

void visit_fields(auto&& visit, Is<DataPlan> auto& data) {
  visit({"text", "text files, folders or globs: .txt, .jsonl, .parquet"},
        data.text);
  visit({"text_column", "field of JSON lines, column of Parquet"},
        data.text_column);
  visit({"tokens", "a ready token file, instead of text"}, data.tokens);
  visit({.name = "begin_token",
         .help = "before documents and prompts; an id, or none",
         .hashed_if_set = true},
        data.begin_token);
  visit({.name = "end_token",
         .help = "after documents; an id, or none",
         .hashed_if_set = true},
        data.end_token);
  visit({.name = "split_at",
         .help = "where the text spells this a document ends",
         .hashed_if_set = true},
        data.split_at);
  visit(
      {"sequence_length", "tokens in one training window", between(2, 1 << 20)},
      data.sequence_length);
  visit({"validation_fraction", "share of the documents held out", below_one()},
        data.validation_fraction);
  visit({.name = "cache_dir",
         .help = "where prepared token files are kept",
         .hashed = false},
        data.cache_dir);
}

void visit_fields(auto&& visit, Is<ModelPlan> auto& model) {
  constexpr Range kSize = between(1, 1 << 24);
  visit({"from", "a model folder or .pt; the other fields follow from it"},
        model.from);
  visit({.name = "family",
         .help = "a model_type whose switches it has (unset: those below)",
         .hashed_if_set = true},
        model.family);
  visit({"vocab_size", "rows of the embedding (unset: the tokenizer's)", kSize},
        model.vocab_size);
  visit({"hidden_size", "width of the residual stream", kSize, true},
        model.hidden_size);
  visit({"intermediate_size", "width of the feed-forward, of one expert", kSize,
         true},
        model.intermediate_size);
  visit({"num_hidden_layers", "blocks", between(1, 4096), true},
        model.num_hidden_layers);
  visit({"num_attention_heads", "query heads", between(1, 65536), true},
        model.num_attention_heads);
  visit({"num_key_value_heads", "key/value heads (unset: the query heads)",
         between(1, 65536)},
        model.num_key_value_heads);
  visit({"head_dim", "width of a head (unset: hidden_size / heads)",
         between(2, 65536)},
        model.head_dim);
  visit({"num_experts", "0: dense", between(0, 4096)}, model.num_experts);
  visit({"num_experts_per_tok", "experts chosen for a token", between(0, 4096)},
        model.num_experts_per_tok);
  visit({"hidden_act", "activation of the feed-forward"}, model.hidden_act);
  visit({"gated", "act(gate x) * up x instead of act(up x)"}, model.gated);
  visit({"qk_norm", "RMSNorm of every q and k head"}, model.qk_norm);
  visit({"tie_word_embeddings", "the head is the embedding"},
        model.tie_word_embeddings);
  visit({"rms_norm_eps", "added to the mean square", above(0)},
        model.rms_norm_eps);
  visit({"rope_theta", "base of the rotary positions", above(0)},
        model.rope_theta);
  visit({"max_position_embeddings", "longest sequence promised",
         between(2, 1 << 24)},
        model.max_position_embeddings);
  visit({"initializer_range", "deviation of the first weights", above(0)},
        model.initializer_range);
}

void visit_fields(auto&& visit, Is<OptimizerPlan> auto& optimizer) {
  visit({"type", "the update rule"}, optimizer.type);
  visit({"adam_beta1", "decay of the first moment", below_one()},
        optimizer.adam_beta1);
  visit({"adam_beta2", "decay of the second moment", below_one()},
        optimizer.adam_beta2);
  visit({"adam_epsilon", "added to the root", above(0)},
        optimizer.adam_epsilon);
  visit({"weight_decay", "decoupled from the gradient", at_least(0)},
        optimizer.weight_decay);
  visit({"momentum", "of sgd; 0: none, and no state", below_one()},
        optimizer.momentum);
  visit({"decay_rate", "of adafactor: its second moment decays by 1 - t^-rate",
         between(0, 1)},
        optimizer.decay_rate);
  visit({"clip_threshold", "of adafactor: highest rms of an update", above(0)},
        optimizer.clip_threshold);
  visit({"scale_parameter", "of adafactor: the rate times each tensor's rms"},
        optimizer.scale_parameter);
  visit({"state_dtype", "what adamw's moments and sgd's momentum are kept in"},
        optimizer.state_dtype);
}

void visit_fields(auto&& visit, Is<ProbePlan> auto& probe) {
  visit({"windows", "fixed windows that proofs are computed on",
         between(1, 4096)},
        probe.windows);
  visit({"length", "tokens of one window", between(2, 1 << 20)}, probe.length);
  visit({"router_tokens", "tokens that the experts' load is counted on",
         between(1, 1 << 24)},
        probe.router_tokens);
}

void visit_fields(auto&& visit, Is<EvaluationPlan> auto& evaluation) {
  visit({"windows", "fixed windows of held-out text; 0: none",
         between(0, 1 << 20)},
        evaluation.windows);
  visit({"eval_steps", "steps between evaluations; 0: at phase ends",
         at_least(0)},
        evaluation.eval_steps);
}

void visit_fields(auto&& visit, Is<SamplesPlan> auto& samples) {
  visit({"prompts", "texts to continue after each phase"}, samples.prompts);
  visit({"max_new_tokens", "length of a continuation", between(0, 1 << 20)},
        samples.max_new_tokens);
  visit(
      {"temperature", "of the sampled one; a greedy one is made too", above(0)},
      samples.temperature);
  visit({"top_k", "most likely tokens to draw from; 0: all", at_least(0)},
        samples.top_k);
}

void visit_fields(auto&& visit, Is<UpcyclePlan> auto& upcycle) {
  visit({"num_experts", "copies of the feed-forward", between(1, 4096)},
        upcycle.num_experts);
  visit({"num_experts_per_tok", "experts chosen for a token", between(1, 4096)},
        upcycle.num_experts_per_tok);
  visit({"router", "first weights; zero lets experts die"}, upcycle.router);
  visit({"router_std", "deviation of a random router", above(0)},
        upcycle.router_std);
  visit({"granularity", "experts that each copy is cut into", between(1, 4096)},
        upcycle.granularity);
  visit({"shard_scale", "where shards make up for their gates"},
        upcycle.shard_scale);
  visit({"shared_expert",
         "the feed-forward for every token; routed experts add nothing"},
        upcycle.shared_expert);
  visit({"drop_ratio", "share of each expert's units drawn anew; not exact",
         between(0, 1)},
        upcycle.drop_ratio);
}

void visit_fields(auto&& visit, Is<WidenPlan> auto& widen) {
  constexpr Range kSize = between(1, 1 << 24);
  visit(
      {"factor", "on every axis (unset: 2, or 1 beside sizes)", between(1, 64)},
      widen.factor);
  visit({"noise_snr_db", "signal to cancelling noise; null: no noise",
         between(0, 200)},
        widen.noise_snr_db);
  visit({"head",
         "of a tied parent: untie, or 1 / factor on final norm or logits"},
        widen.head);
  visit({"hidden", "width of the residual stream", kSize}, widen.hidden);
  visit({"heads", "query heads", between(1, 65536)}, widen.heads);
  visit({"kv_heads", "key/value heads", between(1, 65536)}, widen.kv_heads);
  visit({"ffn", "width of the feed-forward, of one expert", kSize}, widen.ffn);
  visit({"shared_ffn", "width of the shared expert", kSize}, widen.shared_ffn);
}

void visit_fields(auto&& visit, Is<DeepenPlan> auto& deepen) {
  visit({"preset", "which layers the new ones copy"}, deepen.preset);
  visit({"add_layers", "new layers", between(1, 4096)}, deepen.add_layers);
  visit({"outputs", "of new layers; zero makes the step exact"},
        deepen.outputs);
  visit({"layer_map", "parent layer of each child layer; if given, it decides",
         between(0, 4096)},
        deepen.layer_map);
}

void visit_fields(auto&& visit, Is<ExpandExpertsPlan> auto& expand) {
  visit({"factor", "copies of each expert", between(2, 64)}, expand.factor);
  visit({"num_experts_per_tok",
         "experts chosen for a token (unset: times factor, which is exact)",
         between(1, 4096)},
        expand.num_experts_per_tok);
}

void visit_fields(auto&& visit, Is<MergeExpertsPlan> auto& merge) {
  visit({"with", "folders of the other dense models"}, merge.with);
  visit({"num_experts_per_tok", "experts chosen for a token", between(1, 4096)},
        merge.num_experts_per_tok);
  visit({"router", "first weights"}, merge.router);
  visit({"router_std", "deviation of a random router", above(0)},
        merge.router_std);
}

void visit_fields(auto&& visit, Is<PerturbPlan> auto& perturb) {
  visit({"relative_std",
         "deviation of the noise, as a share of a matrix's root mean square",
         Range{.min = 0, .max = 1, .min_open = true}},
        perturb.relative_std);
  visit(
      {"tensors", "which matrices: attention, feed-forward, router, embedding"},
      perturb.tensors);
}

void visit_operators(auto&& visit, auto& step) {
  visit({"upcycle", "feed-forward -> experts"}, step.upcycle);
  visit({"widen", "more width"}, step.widen);
  visit({"deepen", "more layers"}, step.deepen);
  visit({"expand_experts", "more experts"}, step.expand_experts);
  visit({"merge_experts", "several dense models -> experts"},
        step.merge_experts);
  visit({"perturb", "noise on chosen matrices"}, step.perturb);
}

void visit_fields(auto&& visit, Is<GrowthStep> auto& step) {
  visit_operators(visit, step);
}

void visit_fields(auto&& visit, Is<GrowPlan> auto& grow) {
  visit_operators(visit, grow);
  visit({"chain", "several operators as one step, one to an entry"},
        grow.chain);
  visit({"optimizer", "its state across the step"}, grow.optimizer);
  visit({"dynamics", "exact: rates per tensor that keep the parent's path"},
        grow.dynamics);
}

void visit_fields(auto&& visit, Is<TrainPlan> auto& train) {
  visit({"max_steps", "updates in this phase", between(1, 1e9), true},
        train.max_steps);
  visit({"learning_rate", "the highest", above(0), true}, train.learning_rate);
  visit({"batch_size", "windows in one pass of all parts", between(1, 1 << 20),
         true},
        train.batch_size);
  visit({.name = "micro_batch_size",
         .help = "windows in one forward pass (unset: batch_size); batch_size "
                 "/ micro_batch_size parts can be shared by processes",
         .range = between(1, 1 << 20),
         .hashed_if_set = true},
        train.micro_batch_size);
  visit({"gradient_accumulation_steps", "passes of each part to one update",
         between(1, 1 << 20)},
        train.gradient_accumulation_steps);
  visit({"gradient_checkpointing",
         "blocks run again in the backward pass: same bits, less memory"},
        train.gradient_checkpointing);
  visit({"lr_scheduler_type", "after the warm-up"}, train.lr_scheduler_type);
  visit({"warmup_steps", "linear rise of the rate", at_least(0)},
        train.warmup_steps);
  visit({"min_lr_ratio", "last rate / learning_rate", between(0, 1)},
        train.min_lr_ratio);
  visit({"decay_ratio", "wsd: share of max_steps that decays", between(0, 1)},
        train.decay_ratio);
  visit({"max_grad_norm", "clipping; 0: off", at_least(0)},
        train.max_grad_norm);
  visit(
      {"clip", "how the norm is had: gradient held, pass run twice, last step"},
      train.clip);
  visit({"weight_decay", "unset: the optimizer's", at_least(0)},
        train.weight_decay);
  visit(
      {"router_aux_loss_coef", "of the balance loss of mixtures", at_least(0)},
      train.router_aux_loss_coef);
  visit({"router_z_loss_coef", "of the squared log-sum of router logits",
         at_least(0)},
        train.router_z_loss_coef);
  visit({"router_mean_projection",
         "mean taken out of routers each step (unset: if begun as random)"},
        train.router_mean_projection);
}

void visit_fields(auto&& visit, Is<PhasePlan> auto& phase) {
  visit({.name = "name", .help = "of its files and lines", .required = true},
        phase.name);
  visit({"grow", "one operator, applied before training"}, phase.grow);
  visit({"init_checkpoint", "file name of the model before training"},
        phase.init_checkpoint);
  visit({"checkpoint", "file name of the trained model (unset: <name>.pt)"},
        phase.checkpoint);
  visit({.name = "train", .help = "the training", .required = true},
        phase.train);
  visit({.name = "allow",
         .help = "checks whose failure is a warning, besides the plan's",
         .hashed = false},
        phase.allow);
  visit({"boundary_loss_budget", "nats (unset: the plan's)", at_least(0)},
        phase.boundary_loss_budget);
  visit({"expected", "figures to print beside the measured ones, as text"},
        phase.expected);
}

void visit_fields(auto&& visit, Is<ParallelPlan> auto& parallel) {
  visit({"timeout", "seconds that a process waits for the others", above(0)},
        parallel.timeout);
}

void visit_fields(auto&& visit, Is<Plan> auto& plan) {
  visit({.name = "name", .help = "of the plan", .required = true}, plan.name);
  visit({"seed", "of every random number", between(0, 9e15)}, plan.seed);
  visit({.name = "output_dir",
         .help = "the run's folder (unset: runs/<name>)",
         .hashed = false},
        plan.output_dir);
  visit({"precision",
         "of weights and products; bf16-mixed: fp32 weights, bf16 products"},
        plan.precision);
  visit(
      {.name = "device", .help = "auto: cuda if there is one", .hashed = false},
      plan.device);
  visit({.name = "threads",
         .help = "of one process; 0: all, divided among the processes",
         .range = between(0, 4096),
         .hashed = false},
        plan.threads);
  visit({.name = "parallel",
         .help = "several processes that share the run",
         .hashed = false},
        plan.parallel);
  visit({"tokenizer", "bytes, a tokenizer's file, or a folder with one"},
        plan.tokenizer);
  visit({"data", "what is read"}, plan.data);
  visit({.name = "model",
         .help = "what the first phase starts from",
         .required = true},
        plan.model);
  visit({"optimizer", "how weights are updated"}, plan.optimizer);
  visit({"probe", "what growth is proved on"}, plan.probe);
  visit({"evaluation", "loss on held-out text"}, plan.evaluation);
  visit({"samples", "text written after each phase"}, plan.samples);
  visit({.name = "save_steps",
         .help = "steps between training states; 0: at phase ends",
         .range = at_least(0),
         .hashed = false},
        plan.save_steps);
  visit({.name = "save_total_limit",
         .help = "training states kept; the oldest are removed",
         .range = between(1, 1e6),
         .hashed = false},
        plan.save_total_limit);
  visit({.name = "on_failure",
         .help = "of a phase-end check, a loss that is not finite or spikes",
         .hashed = false},
        plan.on_failure);
  visit({.name = "max_rollbacks",
         .help = "to the last state, in one phase",
         .range = between(1, 1000),
         .hashed = false},
        plan.max_rollbacks);
  visit({.name = "rollback_lr_factor",
         .help = "of the rate, at each rollback, until the phase ends",
         .range = {.min = 0, .max = 1, .min_open = true},
         .hashed = false},
        plan.rollback_lr_factor);
  visit({.name = "logging_steps",
         .help = "steps between console lines",
         .range = at_least(1),
         .hashed = false},
        plan.logging_steps);
  visit({.name = "allow",
         .help = "checks whose failure is a warning",
         .hashed = false},
        plan.allow);
  visit({.name = "boundary_loss_budget",
         .help = "nats that a step that is not exact may cost (unset: the "
                 "operator's)",
         .range = at_least(0),
         .hashed_unset = 0.5},
        plan.boundary_loss_budget);
  visit({.name = "phases",
         .help = "in order; the first does not grow",
         .required = true},
        plan.phases);
}

}  // namespace annuli
