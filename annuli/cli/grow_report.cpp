#include "annuli/cli/grow_report.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <cctype>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/model/tensor_table.h"

namespace annuli::cli {
namespace {

// "model.layers.*.mlp.experts.*.up_proj.weight"
std::string kind_of(const std::string& name) {
  std::string kind;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool number =
        std::isdigit(static_cast<unsigned char>(name[i])) &&
        (kind.empty() || kind.back() == '.' || kind.back() == '*');
    if (!number) {
      kind += name[i];
    } else if (kind.empty() || kind.back() != '*') {
      kind += '*';
    }
  }
  return kind;
}

std::string copies_of(const grow::TensorRecipe& tensor) {
  std::vector<int64_t> copies;
  for (const grow::DimensionRecipe& dimension : tensor.dimensions) {
    copies.push_back(dimension.copies);
  }
  return fmt::format("{}", fmt::join(copies, " x "));
}

std::string how(const grow::TensorRecipe& tensor) {
  if (tensor.source == grow::Source::kFresh) {
    return tensor.transforms.front()->in_words();
  }
  if (tensor.source != grow::Source::kParent) {
    return grow::to_string(tensor.source);
  }
  if (tensor.is_identity()) return "as it is";
  std::string text = fmt::format("{} copies", copies_of(tensor));
  if (tensor.scale != 1) text += fmt::format(" * {:.6g}", tensor.scale);
  for (const grow::TransformPtr& transform : tensor.transforms) {
    text += ", " + transform->in_words();
  }
  return text;
}

struct Kind {
  std::string name;
  std::vector<int64_t> shape;
  std::string how;
  int64_t count = 0;
};

std::vector<Kind> kinds_of(const grow::Recipe& recipe) {
  std::vector<Kind> kinds;
  for (const grow::TensorRecipe& tensor : recipe.tensors) {
    const Kind kind{kind_of(tensor.child), tensor.shape, how(tensor)};
    auto same = kinds.begin();
    while (same != kinds.end() &&
           (same->name != kind.name || same->how != kind.how)) {
      ++same;
    }
    if (same == kinds.end()) same = kinds.insert(same, kind);
    ++same->count;
  }
  return kinds;
}

void print_file(const std::string& name, int64_t bytes) {
  fmt::print("  {:<36}  {:>10}\n", name,
             format_bytes(static_cast<double>(bytes)));
}

int64_t bytes_of(const std::vector<TensorEntry>& entries) {
  int64_t bytes = 0;
  for (const TensorEntry& entry : entries) {
    bytes += byte_size(entry.shape, entry.dtype).value();
  }
  return bytes;
}

std::string counted(const ModelConfig& config) {
  const ParameterCount count = count_parameters(config);
  return fmt::format("{} parameters, {} active",
                     format_count(static_cast<double>(count.total)),
                     format_count(static_cast<double>(count.active)));
}

}  // namespace

void print_plan(const grow::Recipe& recipe, const grow::FolderPlan& plan,
                const std::string& out) {
  fmt::print("{} {}\nparent: {}\nchild:  {}\n", recipe.op,
             recipe.arguments.dump(), counted(recipe.parent),
             counted(recipe.child));
  if (!plan.weights.note.empty()) fmt::print("note: {}\n", plan.weights.note);
  fmt::print("{}: {} of {}\n", out,
             format_bytes(static_cast<double>(plan.bytes)),
             dtype_name(plan.weights.dtype));
  for (const Shard& shard : plan.weights.shards) {
    print_file(shard.file, shard.bytes);
  }
  if (!plan.state.empty()) {
    print_file(kOptimizerTensors, bytes_of(plan.state));
  }
  for (const Companion& file : plan.companions) {
    print_file(file.name, file.bytes());
  }
  fmt::print("  config.json, lineage.json, README.md\n");
}

void print_recipe(const grow::Recipe& recipe) {
  fmt::print("\n");
  for (const Kind& kind : kinds_of(recipe)) {
    fmt::print("  {:>5} x  {:<52}  [{}]  {}\n", kind.count, kind.name,
               fmt::join(kind.shape, ", "), kind.how);
  }
}

void print_tensor(const grow::Recipe& recipe, const std::string& name) {
  std::vector<std::string> names;
  const Json tensors = grow::to_json(recipe).at("tensors");
  for (const Json& tensor : tensors) {
    names.push_back(tensor.at("child"));
    if (names.back() != name) continue;
    fmt::print("\n{}\n", pretty(tensor));
    return;
  }
  user_error("printing a recipe: the child has no tensor '{}'{}", name,
             did_you_mean(name, names));
}

Json plan_json(const grow::Recipe& recipe, const grow::FolderPlan& plan,
               const std::string& out) {
  const ParameterCount count = count_parameters(recipe.child);
  Json files = Json::object();
  for (const Shard& shard : plan.weights.shards) {
    files[shard.file] = shard.bytes;
  }
  if (!plan.state.empty()) files[kOptimizerTensors] = bytes_of(plan.state);
  return {{"out", out},
          {"operator", recipe.op},
          {"arguments", recipe.arguments},
          {"seed", recipe.seed},
          {"exact", recipe.exact},
          {"dtype", dtype_name(plan.weights.dtype)},
          {"bytes", plan.bytes},
          {"files", files},
          {"parameters", {{"total", count.total}, {"active", count.active}}}};
}

}  // namespace annuli::cli
