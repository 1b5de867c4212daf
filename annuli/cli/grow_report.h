#pragma once

#include <string>

#include "annuli/checkpoint/lineage.h"
#include "annuli/core/json.h"
#include "annuli/grow/grow_folder.h"

// What `annuli grow` prints and writes with --json.
namespace annuli::cli {

// Model, files, sizes and types of what will be written.
void print_plan(const grow::Recipe& recipe, const grow::FolderPlan& plan,
                const std::string& out);

// How the child's tensors are made, one line for those that are made alike.
void print_recipe(const grow::Recipe& recipe);

// One tensor's line of the recipe, as JSON; UserError with a suggestion.
void print_tensor(const grow::Recipe& recipe, const std::string& name);

Json plan_json(const grow::Recipe& recipe, const grow::FolderPlan& plan,
               const std::string& out);

}  // namespace annuli::cli
