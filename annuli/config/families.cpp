#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "annuli/config/family.h"
#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

Json attributes_of(const char* json) { return Json::parse(json); }

}  // namespace

bool Family::has(std::string_view attribute) const {
  return attributes.contains(attribute);
}

bool Family::takes_null(std::string_view key) const {
  return !has(key) || attributes.at(key).is_null() ||
         std::ranges::find(nullable, key) != nullable.end();
}

bool Family::is_ours() const {
  return std::string_view(model_type).starts_with("annuli");
}

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
// clang-format off
#include "annuli/config/families/llama.def"
#include "annuli/config/families/mistral.def"
#include "annuli/config/families/qwen2.def"
#include "annuli/config/families/qwen3.def"
#include "annuli/config/families/arcee.def"
#include "annuli/config/families/olmo2.def"
#include "annuli/config/families/granite.def"
#include "annuli/config/families/gpt_neox.def"
#include "annuli/config/families/annuli.def"
#include "annuli/config/families/mixtral.def"
#include "annuli/config/families/qwen2_moe.def"
#include "annuli/config/families/qwen3_moe.def"
#include "annuli/config/families/annuli_moe.def"
      // clang-format on
  };
  return all;
}

const Family& find_family(std::string_view type) {
  std::vector<std::string_view> known;
  for (const Family& family : families()) {
    if (family.model_type == type) return family;
    known.push_back(family.model_type);
  }
  user_error(
      "reading a model's config.json: found model_type {}, expected one of {}",
      quote(type), fmt::join(known, ", "));
}

bool expresses(const Family& family, const ModelConfig& config) {
  if (family.mixture != config.is_mixture()) return false;
  if (family.plain_heads &&
      (config.num_key_value_heads != config.num_attention_heads ||
       config.hidden_size != config.num_attention_heads * config.head_dim)) {
    return false;
  }
  // By default: the class always has one.
  const bool shares =
      family.attributes.value("shared_expert_intermediate_size", 0) > 0;
  if (shares && !config.has_shared_expert()) return false;
  ModelConfig read = read_shape(family, write_shape(family, config));
  // What is stated as a divisor comes back with the rounding of 1 / x.
  const double error = read.logit_multiplier / config.logit_multiplier - 1;
  if (std::abs(error) < 1e-15) read.logit_multiplier = config.logit_multiplier;
  return read == config;
}

const Family& family_of(const ModelConfig& config) {
  for (const Family& family : families()) {
    if (expresses(family, config)) return family;
  }
  ANNULI_CHECK(false, "a shape that annuli and annuli_moe do not express");
}

std::string model_type(const ModelConfig& config) {
  return family_of(config).model_type;
}

}  // namespace annuli
