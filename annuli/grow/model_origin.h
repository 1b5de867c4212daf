#pragma once

#include <map>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"

// Where models come from, as far as their folders say.
namespace annuli::grow {

struct ModelOrigin {
  // Repositories of the Hub, "acme/tiny", each once: those in whose folder of
  // the cache the models lie, else the `base_model` of their own cards.
  std::vector<std::string> ids;
  // "license", "license_name", "license_link" of their cards; none where two
  // models do not say the same.
  std::map<std::string, std::string> terms;
};

// A card that cannot be read says nothing.
ModelOrigin origin_of(const std::vector<const ModelFile*>& models);

}  // namespace annuli::grow
