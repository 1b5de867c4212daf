#pragma once

#include "annuli/config/field.h"
#include "annuli/config/phase_plan.h"

// The fields of growth steps: each operator's options, and the list of
// operators; see plan_fields.h.
namespace annuli {

void visit_fields(auto&& visit, Is<UpcyclePlan> auto& upcycle) {
  visit({"num_experts",
         "Number of copies of each feed-forward, which become experts",
         between(1, 4096)},
        upcycle.num_experts);
  visit({"num_experts_per_tok", "Number of experts that compute each token",
         between(1, 4096)},
        upcycle.num_experts_per_tok);
  visit({"router",
         "First weights of routers: random; mean-orthogonal, random without "
         "the directions that all tokens share; centroids of what the router "
         "reads on the probe's text; or zero, with which experts may stay "
         "unused"},
        upcycle.router);
  visit({"router_std", "Standard deviation of a random router's weights",
         above(0)},
        upcycle.router_std);
  visit({"granularity", "Number of smaller experts that each copy is cut into",
         between(1, 4096)},
        upcycle.granularity);
  visit({"shard_scale",
         "Cut copies have smaller gates; this makes up for it in the down "
         "matrices alone, or in both up and down"},
        upcycle.shard_scale);
  visit({"shared_expert",
         "Every token passes through the parent's feed-forward, as a shared "
         "expert; the other experts begin with zero output"},
        upcycle.shared_expert);
  visit({"drop_ratio",
         "Share of each expert's units that is replaced by random ones; above "
         "0 the function is not kept",
         between(0, 1)},
        upcycle.drop_ratio);
  visit({.name = "selection_bias",
         .help = "Each expert gets a bias, of 0, by which experts are chosen "
                 "and which training moves towards equal load",
         .hashed_if_set = true},
        upcycle.selection_bias);
}

void visit_fields(auto&& visit, Is<WidenPlan> auto& widen) {
  constexpr Range kSize = between(1, 1 << 24);
  visit({"factor",
         "All widths are multiplied by it (if not given: 2, or 1 where one of "
         "the widths below is given)",
         between(1, 64)},
        widen.factor);
  visit({"noise_snr_db",
         "Signal-to-noise ratio, in decibels, of noise that sets copies apart "
         "and cancels in the sum; null or none: no noise",
         between(0, 200)},
        widen.noise_snr_db);
  visit({"head",
         "For a parent whose head is the embedding's table: untie makes a head "
         "of its own; fold divides the final norm by the factor; multiplier "
         "divides the logits by it"},
        widen.head);
  visit({"hidden", "New width of the residual stream", kSize}, widen.hidden);
  visit({"heads", "New number of query heads", between(1, 65536)}, widen.heads);
  visit({"kv_heads", "New number of key/value heads", between(1, 65536)},
        widen.kv_heads);
  visit({"ffn",
         "New inner width of the feed-forward; in a mixture, of one expert",
         kSize},
        widen.ffn);
  visit({"shared_ffn", "New inner width of the shared expert", kSize},
        widen.shared_ffn);
}

void visit_fields(auto&& visit, Is<DeepenPlan> auto& deepen) {
  visit({"preset",
         "Where new layers stand: copies of the last one at the top "
         "(copy-last), of the whole stack at the top (stack), after each layer "
         "(interpose, zero-output), after the layers in the middle (middle)"},
        deepen.preset);
  visit({"add_layers", "Number of new layers", between(1, 4096)},
        deepen.add_layers);
  visit({.name = "weights",
         .help = "What new layers are made of: copy, the parent's layers; or "
                 "random numbers, as in a new model",
         .hashed_if_set = true},
        deepen.weights);
  visit({"outputs",
         "What new layers add at first: zero keeps the function; keep adds "
         "what the copied layer does, which changes it"},
        deepen.outputs);
  visit({"layer_map",
         "For each layer of the child, the layer of the parent that it copies: "
         "[0, 1, 1, 2]; takes the place of preset and add_layers",
         between(0, 4096)},
        deepen.layer_map);
}

void visit_fields(auto&& visit, Is<ExpandExpertsPlan> auto& expand) {
  visit({"factor", "Number of copies of each expert", between(2, 64)},
        expand.factor);
  visit({"num_experts_per_tok",
         "Number of experts that compute each token (if not given: the "
         "parent's times factor, which keeps the function)",
         between(1, 4096)},
        expand.num_experts_per_tok);
  visit({.name = "selection_bias",
         .help = "Copies begin with a selection bias that keeps them from "
                 "being chosen, so that num_experts_per_tok may stay what it "
                 "is; training opens them",
         .hashed_if_set = true},
        expand.selection_bias);
}

void visit_fields(auto&& visit, Is<MergeExpertsPlan> auto& merge) {
  visit({"with",
         "The other dense models, of the same shape: folders, .pt files or "
         "model ids"},
        merge.with);
  visit({"num_experts_per_tok", "Number of experts that compute each token",
         between(1, 4096)},
        merge.num_experts_per_tok);
  visit({"router",
         "First weights of routers: random; mean-orthogonal, random without "
         "the directions that all tokens share; or zero, with which experts "
         "may stay unused"},
        merge.router);
  visit({"router_std", "Standard deviation of a random router's weights",
         above(0)},
        merge.router_std);
}

void visit_fields(auto&& visit, Is<PerturbPlan> auto& perturb) {
  visit({"relative_std",
         "Standard deviation of the noise, as a share of each matrix's root "
         "mean square",
         Range{.min = 0, .max = 1, .min_open = true}},
        perturb.relative_std);
  visit({"tensors",
         "Matrices that get noise: attention, feed-forward, router, embedding"},
        perturb.tensors);
}

void visit_fields(auto&& visit, Is<UntiePlan> auto& untie) {
  visit({"head_state",
         "The optimizer's state of the head's table: carry copies the "
         "embedding's, reset begins anew"},
        untie.head_state);
}

void visit_fields(auto&& visit, Is<ShrinkPerturbPlan> auto& shrink) {
  visit({"shrink", "Factor on every matrix",
         Range{.min = 0, .max = 1, .min_open = true}},
        shrink.shrink);
  visit({"relative_std",
         "Standard deviation of the noise, as a share of the root mean square "
         "that each matrix had",
         at_least(0)},
        shrink.relative_std);
}

void visit_fields(auto&& visit, Is<ExtendPlan> auto& extend) {
  visit({"max_position_embeddings",
         "New length of a sequence at most, in tokens; above the parent's",
         between(1, int64_t{1} << 30)},
        extend.max_position_embeddings);
  visit({"method",
         "How positions are told apart: yarn stretches slow frequencies and "
         "sharpens attention; theta raises the base; linear divides all "
         "frequencies by how much longer sequences become"},
        extend.method);
  visit({"rope_theta",
         "Base of the frequencies, for method theta; if not given, the one by "
         "which the slowest frequency is stretched by how much longer "
         "sequences become",
         at_least(1)},
        extend.rope_theta);
}

void visit_operators(auto&& visit, auto& step) {
  visit({"upcycle", "Make experts of each feed-forward, with a router"},
        step.upcycle);
  visit({"widen", "Make every matrix wider"}, step.widen);
  visit({"deepen", "Add layers"}, step.deepen);
  visit({"expand_experts", "Copy the experts of a mixture"},
        step.expand_experts);
  visit({"merge_experts", "Make one mixture of several dense models"},
        step.merge_experts);
  visit({"perturb", "Add noise to chosen matrices"}, step.perturb);
  visit({"untie", "Give the output head a table of its own"}, step.untie);
  visit({"shrink_perturb", "Make all matrices smaller and add noise"},
        step.shrink_perturb);
  visit({"extend", "Make sequences longer, by other rotary frequencies"},
        step.extend);
}

void visit_fields(auto&& visit, Is<GrowthStep> auto& step) {
  visit_operators(visit, step);
}

void visit_fields(auto&& visit, Is<GrowPlan> auto& grow) {
  visit_operators(visit, grow);
  visit({"chain",
         "Several operators, carried out and proved as one step; each entry of "
         "the list holds one"},
        grow.chain);
  visit({"optimizer",
         "What becomes of the optimizer's state: carry grows it with the "
         "weights, reset begins anew"},
        grow.optimizer);
  visit({"dynamics",
         "With exact, each tensor gets factors on its learning rate with which "
         "the child trains as the parent would; with plain, none"},
        grow.dynamics);
}

}  // namespace annuli
