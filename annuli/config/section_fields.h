#pragma once

#include "annuli/config/field.h"
#include "annuli/config/plan.h"

// The fields of a plan's sections; see plan_fields.h.
namespace annuli {

void visit_fields(auto&& visit, Is<TextSource> auto& source) {
  visit({.name = "text",
         .help = "Text: files, folders or globs, as those of data.text",
         .required = true},
        source.text);
  visit({"weight",
         "Share of the tokens that come from this text, against the weights of "
         "the others",
         above(0)},
        source.weight);
}

void visit_fields(auto&& visit, Is<DataPlan> auto& data) {
  visit({"text",
         "Text to train on: files, folders or globs of .txt, .jsonl and "
         ".parquet, the first two also as .gz or .zst"},
        data.text);
  visit({.name = "mixture",
         .help = "Several texts in shares, instead of text",
         .hashed_if_set = true},
        data.mixture);
  visit({"text_column",
         "Field of a JSON line, or column of a Parquet file, that holds the "
         "text"},
        data.text_column);
  visit({"tokens",
         "A token file made by annuli tokenize, to train on instead of text"},
        data.tokens);
  visit({.name = "begin_token",
         .help = "Token put before each document and each prompt: its text, "
                 "its id, or none (if not given: as the tokenizer's files say)",
         .hashed_if_set = true},
        data.begin_token);
  visit(
      {.name = "end_token",
       .help =
           "Token put after each document, at which generated text ends: its "
           "text, its id, or none (if not given: as the tokenizer's files say)",
       .hashed_if_set = true},
      data.end_token);
  visit({.name = "split_at",
         .help = "A document ends where the text spells this, for example "
                 "<|endoftext|>",
         .hashed_if_set = true},
        data.split_at);
  visit({.name = "document_mask",
         .help = "A token sees only tokens of its own document, and positions "
                 "begin anew with each document",
         .hashed_if_set = true},
        data.document_mask);
  visit({.name = "order",
         .help = "Which windows of the text a run takes: random, each begins "
                 "anywhere; or epochs, all of the text once in a random order, "
                 "then all of it again in another",
         .hashed_if_set = true},
        data.order);
  visit({"sequence_length", "Length of a training window, in tokens",
         between(2, 1 << 20)},
        data.sequence_length);
  visit({"validation_fraction",
         "Share of the documents that is held out for evaluation", below_one()},
        data.validation_fraction);
  visit({.name = "cache_dir",
         .help = "Folder that keeps prepared token files (if not given: "
                 "build/data/tokens)",
         .hashed = false},
        data.cache_dir);
}

void visit_fields(auto&& visit, Is<ModelPlan> auto& model) {
  constexpr Range kSize = between(1, 1 << 24);
  visit({"from",
         "Begin with this model: a folder, a .pt or GGUF file or a model id; the "
         "other fields then follow from it"},
        model.from);
  visit({.name = "family",
         .help = "A model_type of transformers, such as llama or gpt_neox: "
                 "biases, norms and other switches are those of its class (if "
                 "not given: as the fields below say)",
         .hashed_if_set = true},
        model.family);
  visit({"vocab_size",
         "Number of rows of the embedding (if not given: as many as the "
         "tokenizer has tokens)",
         kSize},
        model.vocab_size);
  visit({"hidden_size", "Width of the residual stream", kSize, true},
        model.hidden_size);
  visit({"intermediate_size",
         "Inner width of the feed-forward; in a mixture, of one expert", kSize,
         true},
        model.intermediate_size);
  visit({"num_hidden_layers",
         "Number of layers, each with attention and a feed-forward",
         between(1, 4096), true},
        model.num_hidden_layers);
  visit({"num_attention_heads", "Number of query heads in a layer",
         between(1, 65536), true},
        model.num_attention_heads);
  visit({"num_key_value_heads",
         "Number of key/value heads in a layer (if not given: "
         "num_attention_heads)",
         between(1, 65536)},
        model.num_key_value_heads);
  visit({"head_dim",
         "Width of one head (if not given: hidden_size / num_attention_heads)",
         between(2, 65536)},
        model.head_dim);
  visit({"num_experts", "Number of experts in a layer; 0 makes a dense model",
         between(0, 4096)},
        model.num_experts);
  visit({"num_experts_per_tok", "Number of experts that compute each token",
         between(0, 4096)},
        model.num_experts_per_tok);
  visit({.name = "selection_bias",
         .help = "Experts of a mixture are chosen by probability plus a bias "
                 "of each, which evens out their load",
         .hashed_if_set = true},
        model.selection_bias);
  visit({"hidden_act", "Activation function of the feed-forward"},
        model.hidden_act);
  visit({"gated",
         "The feed-forward computes act(gate x) * (up x) instead of act(up x)"},
        model.gated);
  visit({"qk_norm", "Each query and key head passes through an RMSNorm"},
        model.qk_norm);
  visit({"tie_word_embeddings",
         "The output head uses the table of the embedding"},
        model.tie_word_embeddings);
  visit({"rms_norm_eps",
         "Number that norms add to the mean square before the root", above(0)},
        model.rms_norm_eps);
  visit({"rope_theta", "Base of the frequencies of rotary positions", above(0)},
        model.rope_theta);
  visit({"max_position_embeddings",
         "Longest sequence that the model is meant for, in tokens",
         between(2, 1 << 24)},
        model.max_position_embeddings);
  visit({"initializer_range", "Standard deviation of the first random weights",
         above(0)},
        model.initializer_range);
}

void visit_fields(auto&& visit, Is<OptimizerGroup> auto& group) {
  visit({"parts",
         "Tensors of the group: attention, feed-forward, router, embedding, "
         "head (if it has a table of its own), gains, biases"},
        group.parts);
  visit({"lr_factor", "The learning rate is multiplied by it", at_least(0)},
        group.lr_factor);
  visit(
      {"weight_decay",
       "Weight decay of these tensors, gains and biases too (if not given: as "
       "for the others)",
       at_least(0)},
      group.weight_decay);
}

void visit_fields(auto&& visit, Is<SchedulePlan> auto& schedule) {
  visit({"type",
         "After the warm-up: constant; a linear or cosine decay; or constant "
         "with a decay at the end (wsd)"},
        schedule.type);
  visit({"warmup",
         "First part of the run, in which the rate rises in a line: 500 "
         "(steps), 2% (of the run's tokens) or 1e6 tokens"},
        schedule.warmup);
  visit({"decay",
         "wsd: last part of the run, in which the rate decays, in the same "
         "words; it does not begin before the last phase that grows"},
        schedule.decay);
  visit({"min_lr_ratio",
         "Learning rate at the end of the decay, as a share of the highest",
         between(0, 1)},
        schedule.min_lr_ratio);
}

void visit_fields(auto&& visit, Is<BudgetPlan> auto& budget) {
  visit({"tokens", "Number of tokens to train on", at_least(1)}, budget.tokens);
  visit({"flops",
         "Number of floating-point operations of training: three forward "
         "passes for each token",
         at_least(1)},
        budget.flops);
}

void visit_fields(auto&& visit, Is<OptimizerPlan> auto& optimizer) {
  visit({"type", "Algorithm that updates the weights"}, optimizer.type);
  visit({"adam_beta1",
         "adamw, adamw_8bit: share of the mean gradient (first moment) that is "
         "kept at each step",
         below_one()},
        optimizer.adam_beta1);
  visit({"adam_beta2",
         "adamw, adamw_8bit: share of the mean squared gradient (second "
         "moment) that is kept at each step",
         below_one()},
        optimizer.adam_beta2);
  visit({"adam_epsilon",
         "adamw, adamw_8bit: number added to the root of the second moment",
         above(0)},
        optimizer.adam_epsilon);
  visit({"weight_decay",
         "Each step subtracts learning_rate * weight_decay times the weight; "
         "matrices only",
         at_least(0)},
        optimizer.weight_decay);
  visit({"momentum",
         "sgd: share of the sum of gradients that is kept at each step; 0 "
         "keeps none and needs no memory",
         below_one()},
        optimizer.momentum);
  visit({"decay_rate",
         "adafactor: at step t the second moment keeps the share 1 - "
         "t^-decay_rate",
         between(0, 1)},
        optimizer.decay_rate);
  visit({"clip_threshold",
         "adafactor: an update with a larger root mean square is scaled down "
         "to this one",
         above(0)},
        optimizer.clip_threshold);
  visit({"scale_parameter",
         "adafactor: the learning rate is multiplied by the root mean square "
         "of each tensor"},
        optimizer.scale_parameter);
  visit({.name = "muon_momentum",
         .help = "muon: share of the mean gradient that is kept at each step; "
                 "acts on matrices of attention and feed-forwards, all other "
                 "tensors have adamw's updates",
         .range = below_one(),
         .hashed_if_set = true},
        optimizer.muon_momentum);
  visit({.name = "muon_scale",
         .help = "muon: factor on the update of a matrix: keller, "
                 "sqrt(max(1, rows / columns)); or moonlight, 0.2 "
                 "sqrt(max(rows, columns)), with which a rate for adamw fits",
         .hashed_if_set = true},
        optimizer.muon_scale);
  visit({"state_dtype",
         "Number type of adamw's moments, of sgd's and muon's momentum"},
        optimizer.state_dtype);
  visit({.name = "groups",
         .help = "Rates and weight decay of the tensors of some parts; each "
                 "entry names its parts",
         .hashed_if_set = true},
        optimizer.groups);
}

void visit_fields(auto&& visit, Is<ProbePlan> auto& probe) {
  visit(
      {"windows", "Number of fixed windows of text that proofs are computed on",
       between(1, 4096)},
      probe.windows);
  visit({"length", "Length of such a window, in tokens", between(2, 1 << 20)},
        probe.length);
  visit({"router_tokens",
         "Number of tokens on which the load of experts is counted",
         between(1, 1 << 24)},
        probe.router_tokens);
}

void visit_fields(auto&& visit, Is<EvaluationPlan> auto& evaluation) {
  visit({"windows",
         "Number of fixed windows of held-out text; 0 turns evaluation off",
         between(0, 1 << 20)},
        evaluation.windows);
  visit({"eval_steps",
         "Number of steps from one evaluation to the next; 0 evaluates only at "
         "the end of a phase",
         at_least(0)},
        evaluation.eval_steps);
}

void visit_fields(auto&& visit, Is<SamplesPlan> auto& samples) {
  visit({"prompts", "Texts that the model continues after each phase"},
        samples.prompts);
  visit({"max_new_tokens", "Longest continuation, in tokens",
         between(0, 1 << 20)},
        samples.max_new_tokens);
  visit({"temperature",
         "Temperature of the random continuation; one that always takes the "
         "most probable token is written too",
         above(0)},
        samples.temperature);
  visit({"top_k",
         "Number of most probable tokens to choose from at random; 0 takes all",
         at_least(0)},
        samples.top_k);
}

void visit_fields(auto&& visit, Is<ParallelPlan> auto& parallel) {
  visit({"timeout", "Number of seconds that a process waits for the others",
         above(0)},
        parallel.timeout);
  visit({"shard",
         "What each process holds only a part of: none, the optimizer's state, "
         "or in full also weights and gradients while it trains; it changes "
         "memory and time, not results"},
        parallel.shard);
}

}  // namespace annuli
