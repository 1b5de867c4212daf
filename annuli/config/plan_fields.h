#pragma once

#include "annuli/config/field.h"
#include "annuli/config/growth_fields.h"
#include "annuli/config/plan.h"
#include "annuli/config/section_fields.h"

// The one list of a plan's fields, with growth_fields.h (operators) and
// section_fields.h (data, model, optimizer ...). `visit_fields(visit, plan)`
// calls `visit(Field, member)` for each member, in the order of the file; a
// member is a scalar, an enumeration, an optional, a list, a section (a struct
// that has its own visit_fields), an optional section or a list of sections.
// Defaults are the members' initialisers.
namespace annuli {

void visit_fields(auto&& visit, Is<FreezePlan> auto& freeze) {
  visit({"parent",
         "What was there before this phase's growth; of a wider tensor the "
         "entries of the first copy, of experts that are copies the first"},
        freeze.parent);
  visit({"parts",
         "All tensors of these parts: attention, feed-forward, router, "
         "embedding, head (if it has a table of its own), gains, biases"},
        freeze.parts);
  visit({"layers", "All tensors of these layers, from 0", at_least(0)},
        freeze.layers);
  visit({"experts", "These experts of every layer, from 0", at_least(0)},
        freeze.experts);
  visit({"unfreeze_after",
         "Number of steps after which all is trained (if not given: never)",
         at_least(1)},
        freeze.unfreeze_after);
}

void visit_fields(auto&& visit, Is<UntilPlan> auto& until) {
  visit({.name = "slope",
         .help = "The phase ends once the smoothed loss falls by less than "
                 "this, in nats, from one doubling of the run's operations to "
                 "the next",
         .range = above(0),
         .required = true},
        until.slope);
}

void visit_fields(auto&& visit, Is<TrainPlan> auto& train) {
  visit({.name = "max_steps",
         .help = "Number of updates in this phase",
         .range = between(1, 1e9),
         .required = true,
         .instead = {"max_tokens", "max_flops", "share"}},
        train.max_steps);
  visit({.name = "max_tokens",
         .help = "Instead of max_steps: as many updates as this number of "
                 "tokens allows",
         .range = at_least(1),
         .hashed_if_set = true},
        train.max_tokens);
  visit({.name = "max_flops",
         .help = "Instead of max_steps: as many updates as this number of "
                 "floating-point operations allows",
         .range = at_least(1),
         .hashed_if_set = true},
        train.max_flops);
  visit({.name = "share",
         .help = "Instead of max_steps: share of the plan's budget; what a "
                 "phase cannot spend is left to the next",
         .range = Range{.min = 0, .max = 1, .min_open = true},
         .hashed_if_set = true},
        train.share);
  visit({.name = "until",
         .help = "What may end the phase before its last step; what it has not "
                 "spent of a budget is left to the next phase",
         .hashed_if_set = true},
        train.until);
  visit({"learning_rate",
         "Highest learning rate, which holds between warm-up and decay",
         above(0), true},
        train.learning_rate);
  visit({.name = "sequence_length",
         .help = "Length of this phase's training windows, in tokens (if not "
                 "given: the data's)",
         .range = between(2, 1 << 20),
         .hashed_if_set = true},
        train.sequence_length);
  visit({"batch_size", "Number of windows in one pass, in all parts together",
         between(1, 1 << 20), true},
        train.batch_size);
  visit({.name = "micro_batch_size",
         .help = "Number of windows in one forward pass, which is a part of "
                 "the batch (if not given: batch_size); processes can share "
                 "the batch_size / micro_batch_size parts",
         .range = between(1, 1 << 20),
         .hashed_if_set = true},
        train.micro_batch_size);
  visit({"gradient_accumulation_steps",
         "Number of passes, of each part, whose gradients are added up for one "
         "update",
         between(1, 1 << 20)},
        train.gradient_accumulation_steps);
  visit({"gradient_checkpointing",
         "Each layer is computed once more in the backward pass instead of "
         "kept in memory: the same results, more time"},
        train.gradient_checkpointing);
  visit({"lr_scheduler_type",
         "The learning rate after the warm-up: constant; a linear or cosine "
         "decay; or constant with a decay at the end (wsd)"},
        train.lr_scheduler_type);
  visit({"warmup_steps",
         "Number of first steps in which the learning rate rises in a line",
         at_least(0)},
        train.warmup_steps);
  visit({"min_lr_ratio",
         "Learning rate at the end of the decay, as a share of learning_rate",
         between(0, 1)},
        train.min_lr_ratio);
  visit(
      {"decay_ratio",
       "wsd: share of max_steps, at the end, in which the learning rate decays",
       between(0, 1)},
      train.decay_ratio);
  visit({.name = "schedule",
         .help = "In a plan with a schedule: whether the phase follows it "
                 "(run), or lr_scheduler_type and its like (phase)",
         .hashed_if_set = true},
        train.schedule);
  visit({.name = "rewarm_steps",
         .help = "Number of first steps in which the learning rate rises from "
                 "0 to what it would be, for example after growth",
         .range = at_least(0),
         .hashed_if_set = true},
        train.rewarm_steps);
  visit({.name = "rewarm_of",
         .help = "What the rate of rewarm_steps acts on: all, or only what "
                 "this phase's growth added (new), entry by entry",
         .hashed_if_set = true},
        train.rewarm_of);
  visit({"max_grad_norm",
         "A gradient with a larger norm is scaled down to this norm; 0 never "
         "scales",
         at_least(0)},
        train.max_grad_norm);
  visit({"clip",
         "Where the norm for max_grad_norm comes from: whole keeps the whole "
         "gradient in memory; two_pass computes it twice instead, with the "
         "same result; previous_norm takes that of the step before, which is "
         "not exact"},
        train.clip);
  visit({"weight_decay",
         "Weight decay in this phase (if not given: the optimizer's)",
         at_least(0)},
        train.weight_decay);
  visit({.name = "freeze",
         .help = "What this phase does not train: it has no gradient and no "
                 "optimizer's state, and is the same to the byte at the end",
         .hashed_if_set = true},
        train.freeze);
  visit({"router_aux_loss_coef",
         "Weight of the loss that gives experts equal load, in a mixture",
         at_least(0)},
        train.router_aux_loss_coef);
  visit({"router_z_loss_coef",
         "Weight of the loss that keeps a router's logits small, in a mixture",
         at_least(0)},
        train.router_z_loss_coef);
  visit({.name = "selection_bias_rate",
         .help = "Step by which the selection bias of an expert rises, after "
                 "each update, if it had fewer tokens than the mean, and falls "
                 "if it had more, in a mixture that has such biases",
         .range = at_least(0),
         .hashed_if_set = true},
        train.selection_bias_rate);
  visit({"router_mean_projection",
         "After each step the direction that all tokens share is taken out of "
         "routers (if not given: only of those that began as random)"},
        train.router_mean_projection);
}

void visit_fields(auto&& visit, Is<PhasePlan> auto& phase) {
  visit({.name = "name",
         .help = "Name of the phase, which its files and lines carry",
         .required = true},
        phase.name);
  visit({"grow",
         "How the model grows before this phase trains: one operator, or a "
         "chain"},
        phase.grow);
  visit({"init_checkpoint",
         "File name of the model before training (if not given: it is not "
         "written)"},
        phase.init_checkpoint);
  visit({"checkpoint",
         "File name of the trained model (if not given: <name>.pt)"},
        phase.checkpoint);
  visit({.name = "train",
         .help = "How the model is trained in this phase",
         .required = true},
        phase.train);
  visit({.name = "allow",
         .help = "Checks whose failure is only a warning in this phase, "
                 "besides those of the whole plan",
         .hashed = false},
        phase.allow);
  visit({"boundary_loss_budget",
         "Rise of the loss, in nats, that growth which is not exact may cause "
         "in this phase (if not given: as in the whole plan)",
         at_least(0)},
        phase.boundary_loss_budget);
  visit({"expected",
         "Figures that the table at the end prints below the measured ones, as "
         "text"},
        phase.expected);
}

void visit_fields(auto&& visit, Is<Plan> auto& plan) {
  visit({.name = "name", .help = "Name of the plan", .required = true},
        plan.name);
  visit({"seed",
         "All random numbers are made from it: the same seed, the same run",
         between(0, 9e15)},
        plan.seed);
  visit({.name = "output_dir",
         .help = "Folder that the run writes (if not given: runs/<name>)",
         .hashed = false},
        plan.output_dir);
  visit({"precision",
         "Number type of weights and products; bf16-mixed multiplies fp32 "
         "weights as bf16; int8-weights is bf16 with the layers' matrices held "
         "as codes of 8 bits"},
        plan.precision);
  visit({.name = "device",
         .help =
             "Where to compute; auto takes cuda if there is one, else the CPU",
         .hashed = false},
        plan.device);
  visit({.name = "threads",
         .help = "Number of threads of one process; 0 takes all cores, divided "
                 "among the processes",
         .range = between(0, 4096),
         .hashed = false},
        plan.threads);
  visit({.name = "parallel",
         .help = "Several processes that share the run",
         .hashed = false},
        plan.parallel);
  visit({"tokenizer",
         "How text becomes tokens: bytes, a tokenizer's file, or a folder with "
         "one"},
        plan.tokenizer);
  visit({"data", "What the model is trained on"}, plan.data);
  visit({.name = "model",
         .help = "What the first phase begins with",
         .required = true},
        plan.model);
  visit({"optimizer", "How weights are updated"}, plan.optimizer);
  visit({.name = "schedule",
         .help = "The learning rate over the whole run (if not given: each "
                 "phase has its own)",
         .hashed_if_set = true},
        plan.schedule);
  visit({.name = "budget",
         .help = "What the whole run may spend; phases have a share of it",
         .hashed_if_set = true},
        plan.budget);
  visit({"probe", "The text on which growth is proved"}, plan.probe);
  visit({"evaluation", "Loss on held-out text"}, plan.evaluation);
  visit({"samples", "Text that the model writes after each phase"},
        plan.samples);
  visit({.name = "save_steps",
         .help = "Number of steps from one saved training state to the next; 0 "
                 "saves only at the end of a phase",
         .range = at_least(0),
         .hashed = false},
        plan.save_steps);
  visit({.name = "save_total_limit",
         .help =
             "Number of training states that are kept; the oldest are removed",
         .range = between(1, 1e6),
         .hashed = false},
        plan.save_total_limit);
  visit({.name = "on_failure",
         .help = "After a failed check at the end of a phase, or a loss that "
                 "is not finite or jumps up: stop, or go back to the last "
                 "saved state (rollback)",
         .hashed = false},
        plan.on_failure);
  visit({.name = "max_rollbacks",
         .help = "Number of times that a phase may go back to a saved state",
         .range = between(1, 1000),
         .hashed = false},
        plan.max_rollbacks);
  visit({.name = "rollback_lr_factor",
         .help = "Each time it goes back, the learning rate is multiplied by "
                 "this until the phase ends",
         .range = {.min = 0, .max = 1, .min_open = true},
         .hashed = false},
        plan.rollback_lr_factor);
  visit({.name = "logging_steps",
         .help = "Number of steps from one console line to the next",
         .range = at_least(1),
         .hashed = false},
        plan.logging_steps);
  visit({.name = "measure_steps",
         .help = "Number of steps from one measurement of norms, of the size "
                 "of updates and of copies that part to the next, beside those "
                 "of the steps 1, 2, 4, 8 ... of a phase; 0 measures nothing",
         .range = at_least(0),
         .hashed = false},
        plan.measure_steps);
  visit({.name = "report_to",
         .help = "Formats besides the history in which a run tells of its "
                 "steps while it runs: tensorboard writes event files into "
                 "tensorboard/ in the run's folder",
         .hashed = false},
        plan.report_to);
  visit({.name = "allow",
         .help = "Checks whose failure is only a warning",
         .hashed = false},
        plan.allow);
  visit({.name = "boundary_loss_budget",
         .help = "Rise of the loss, in nats, that growth which is not exact "
                 "may cause (if not given: as much as its operator states)",
         .range = at_least(0),
         .hashed_unset = 0.5},
        plan.boundary_loss_budget);
  visit({.name = "phases",
         .help = "The phases, one after the other; the first does not grow",
         .required = true},
        plan.phases);
}

}  // namespace annuli
