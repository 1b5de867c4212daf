#pragma once

#include <optional>
#include <string>

#include "annuli/checkpoint/model_file.h"
#include "annuli/grow/recipe.h"

// How `annuli verify` knows how the child was made.
namespace annuli::cli {

struct KnownRecipe {
  std::optional<grow::Recipe> recipe;  // none: to be inferred
  std::string source;                  // for people
};

// What --map names: JSON or YAML, one of
//   {widen: {factor: 2}}            an operator and its arguments
//   [{upcycle: {...}}, ...]         a chain of them
//   a lineage.json                  its last growth
//   a recipe                        as `annuli grow --dry-run --json` prints it
// UserError if it is none of these, or cannot be applied to the parent.
grow::Recipe read_map(const fs::path& path, const ModelConfig& parent);

// By --map, else by the child's own record if it is of a growth of this very
// parent, else not known.
KnownRecipe find_recipe(const std::string& map, const ModelFile& parent,
                        const ModelFile& child);

}  // namespace annuli::cli
