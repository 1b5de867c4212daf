#include "annuli/python/growth_words.h"

#include <string>

#include "annuli/config/field.h"
#include "annuli/core/error.h"
#include "annuli/grow/arguments.h"

namespace annuli::python {
namespace {

template <typename Enum>
Enum word_in(const Json& order, const char* key) {
  const auto value = value_of<Enum>(order.at(key).get<std::string>());
  if (value) return *value;
  user_error("growing {}: {} is '{}', expected {}", kName, key,
             order.at(key).get<std::string>(), words_of<Enum>());
}

}  // namespace

// There always are tokens on which a router's means can be measured.
GrowPlan growth_of(const Json& order) {
  const auto op = order.at("operator").get<std::string>();
  const Json& arguments = order.at("arguments");
  GrowPlan growth = op == "chain"
                        ? grow::read_chain(arguments.dump(), "the chain",
                                           RouterInit::kMeanOrthogonal)
                        : grow::plan_of(op, arguments);
  if (op != "chain" && !arguments.contains("router")) {
    if (growth.upcycle) growth.upcycle->router = RouterInit::kMeanOrthogonal;
    if (growth.merge_experts) {
      growth.merge_experts->router = RouterInit::kMeanOrthogonal;
    }
  }
  growth.optimizer = word_in<OptimizerState>(order, "optimizer");
  growth.dynamics = word_in<Dynamics>(order, "dynamics");
  return growth;
}

}  // namespace annuli::python
