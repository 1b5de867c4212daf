#pragma once

#include "annuli/config/plan_fields.h"
#include "annuli/study/study_plan.h"

// The one list of a study's fields; see config/plan_fields.h.
namespace annuli::study {

void visit_fields(auto&& visit, Is<Arm> auto& arm) {
  visit({.name = "name",
         .help = "Name of the arm, which its runs and lines carry",
         .required = true},
        arm.name);
  visit({"about", "What the arm is, in a sentence"}, arm.about);
  visit({"plan",
         "Fields of its plan, laid over the study's; each phase has a share of "
         "the operations"},
        arm.plan);
  visit({"rates",
         "Learning rates of the first phase that are tried with the first "
         "seed, of which the best counts; other phases keep their ratio to it",
         above(0)},
        arm.rates);
  visit({"rate_of", "Another arm whose best rate is taken"}, arm.rate_of);
  visit({"seeds", "Seeds (if not given: the study's)", between(0, 9e15)},
        arm.seeds);
  visit({"points", "Points of its curve (if not given: the study's)",
         Range{.min = 0, .max = 1, .min_open = true}},
        arm.points);
}

void visit_fields(auto&& visit, Is<Study> auto& study) {
  visit({.name = "name", .help = "Name of the study", .required = true},
        study.name);
  visit({"about", "The question, in a sentence"}, study.about);
  visit(
      {"output_dir", "Folder of its runs (if not given: runs/studies/<name>)"},
      study.output_dir);
  visit({"results",
         "File that keeps what was measured (if not given: "
         "<output_dir>/results.jsonl)"},
        study.results);
  visit({.name = "flops",
         .help = "Number of floating-point operations that every arm may "
                 "spend: three forward passes for each token",
         .range = at_least(1),
         .required = true},
        study.flops);
  visit({"points",
         "Shares of the operations at which each curve has a point: a model "
         "whose rate has decayed to its end",
         Range{.min = 0, .max = 1, .min_open = true}},
        study.points);
  visit({"seeds", "Seeds of each arm", between(0, 9e15)}, study.seeds);
  visit({"targets", "Held-out losses, in bits per byte, whose cost is compared",
         above(0)},
        study.targets);
  visit({.name = "baseline",
         .help = "The arm that the others are compared with",
         .required = true},
        study.baseline);
  visit({.name = "plan", .help = "Fields of all arms' plans", .required = true},
        study.plan);
  visit({.name = "arms", .help = "The arms", .required = true}, study.arms);
  visit({"quick", "Fields that --quick lays over all of these"}, study.quick);
}

}  // namespace annuli::study
