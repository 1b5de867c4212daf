#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "annuli/config/growth_fields.h"
#include "annuli/config/model_config.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/recipe.h"

// A growth method. It knows its options and, given a parent's config, states
// the child's config and the recipe of every child tensor. It holds no tensors
// and touches none.
//
// Most methods are a function from options to a GrowthRule: RuleOperator makes
// an operator of it. The plan's names and the child's shape follow from
// config/growth_fields.h and config/grown_shape.h.
namespace annuli::grow {

class Operator {
 public:
  virtual ~Operator() = default;

  virtual std::string name() const = 0;

  // Every random number of the growth follows from `seed`. Throws UserError if
  // this parent cannot be grown so.
  virtual Recipe recipe(const ModelConfig& parent, uint64_t seed) const = 0;
};

struct GrowthRule {
  AxisRule axes;
  bool exact = true;       // the child computes what the parent does
  double loss_budget = 0;  // nats, if not
};

// Of a step with one operator: its name.
std::string name_of(const GrowthStep& step);

// The recipe of a step whose rule follows from the child's config. Throws
// UserError if this parent cannot be grown so.
Recipe recipe_by_rule(
    const GrowthStep& step, const ModelConfig& parent, uint64_t seed,
    const std::function<GrowthRule(const ModelConfig& child)>& rule);

// The step of a plan with these options.
template <typename Options>
GrowthStep step_of(const Options& options) {
  GrowthStep step;
  visit_operators(
      [&](const Field&, auto& member) {
        if constexpr (std::is_same_v<decltype(member),
                                     std::optional<Options>&>) {
          member = options;
        }
      },
      step);
  return step;
}

template <typename OptionsOf, GrowthRule (*kRule)(const OptionsOf& options,
                                                  const ModelConfig& parent,
                                                  const ModelConfig& child)>
class RuleOperator final : public Operator {
 public:
  using Options = OptionsOf;

  explicit RuleOperator(Options options) : options_(std::move(options)) {}

  std::string name() const override { return name_of(step_of(options_)); }
  Recipe recipe(const ModelConfig& parent, uint64_t seed) const override {
    return recipe_by_rule(step_of(options_), parent, seed,
                          [&](const ModelConfig& child) {
                            return kRule(options_, parent, child);
                          });
  }

 private:
  Options options_;
};

}  // namespace annuli::grow
