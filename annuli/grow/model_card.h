#pragma once

#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/config/model_config.h"
#include "annuli/core/json.h"
#include "annuli/grow/model_origin.h"

// The README.md of a model that this program wrote, in the form of the Hub's
// model cards: front matter in YAML, then for people.
namespace annuli::grow {

struct CardMetric {
  std::string type;  // "loss"
  std::string name;
  double value = 0;
};

// What the run says that trained the model, or its parent; empty if none does.
struct CardTraining {
  std::string markdown;  // under the heading "Training"
  std::vector<CardMetric> metrics;
};

struct CardFacts {
  Lineage lineage;  // how the model came to be; may be empty
  std::vector<std::pair<std::string, ModelConfig>> shapes;  // of whom
  Json config;  // the model's config.json
  ModelOrigin origin;
  CardTraining training;
};

// From what, how, proved by what, how to load it. A pure function of its
// arguments, so that a replay writes the same. All that comes from files is
// quoted: nothing in it can become YAML or HTML.
std::string model_card(const CardFacts& facts);

}  // namespace annuli::grow
