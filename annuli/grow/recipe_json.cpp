#include "annuli/core/json.h"
#include "annuli/grow/recipe.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/transforms/closed_copies.h"
#include "annuli/grow/transforms/fresh.h"

namespace annuli::grow {
namespace {

Json slices_to_json(const std::vector<Slice>& slices) {
  Json json = Json::array();
  for (const Slice& slice : slices) json.push_back({slice.start, slice.length});
  return json;
}

std::vector<Slice> slices_from_json(const Json& json) {
  std::vector<Slice> slices;
  for (const Json& slice : json) {
    slices.push_back({slice.at(0).get<int64_t>(), slice.at(1).get<int64_t>()});
  }
  return slices;
}

Json dimension_to_json(const DimensionRecipe& dimension) {
  return {{"slices", slices_to_json(dimension.slices)},
          {"copies", dimension.copies}};
}

DimensionRecipe dimension_from_json(const Json& json) {
  return {slices_from_json(json.at("slices")), json.at("copies")};
}

Json expert_to_json(const ExpertRule& expert) {
  return {{"parent", expert.parent},
          {"model", expert.model},
          {"ffn", slices_to_json(expert.ffn)}};
}

// What the dimensions say, which is mostly so.
void set_matrix_copies(TensorRecipe& tensor) {
  if (tensor.dimensions.size() != 2) return;
  tensor.row_copies = tensor.dimensions[0].copies;
  tensor.column_copies = tensor.dimensions[1].copies;
}

bool dimensions_say_copies(const TensorRecipe& tensor) {
  TensorRecipe said;
  said.dimensions = tensor.dimensions;
  set_matrix_copies(said);
  return said.row_copies == tensor.row_copies &&
         said.column_copies == tensor.column_copies;
}

Json tensor_to_json(const TensorRecipe& tensor) {
  Json dimensions = Json::array();
  for (const DimensionRecipe& dimension : tensor.dimensions) {
    dimensions.push_back(dimension_to_json(dimension));
  }
  Json json = {
      {"child", tensor.child},
      {"parent", tensor.parent},
      {"source", to_string(tensor.source)},
      {"shape", tensor.shape},
      {"dimensions", dimensions},
      {"models", tensor.models},
      {"scale", tensor.scale},
      {"stream", tensor.stream},
      {"layer", tensor.layer},
      {"carry_state", tensor.carry_state},
      {"produced_copies", tensor.produced_copies},
      {"contracted_copies", tensor.contracted_copies},
      {"gradient_scale", tensor.gradient_scale},
      {"lr_multiplier", tensor.lr_multiplier},
      {"eps_multiplier", tensor.eps_multiplier},
      {"weight_decay_multiplier", tensor.weight_decay_multiplier},
      {"settings_from", tensor.settings_from},
  };
  if (!dimensions_say_copies(tensor)) {
    json["matrix_copies"] = {tensor.row_copies, tensor.column_copies};
  }
  if (tensor.coded) json["coded"] = true;
  for (const TransformKind& kind : transform_kinds()) {
    const auto stated =
        std::ranges::find_if(tensor.transforms, [&](const TransformPtr& of) {
          return std::string_view(kind.name) == of->name();
        });
    kind.write(stated == tensor.transforms.end() ? nullptr : stated->get(),
               json);
  }
  for (const TensorRecipe& step : tensor.steps) {
    json["steps"].push_back(tensor_to_json(step));
  }
  return json;
}

Source source_from(const std::string& name) {
  for (Source source : {Source::kParent, Source::kZero, Source::kRandomRouter,
                        Source::kFresh}) {
    if (name == to_string(source)) return source;
  }
  user_error(
      "reading a recipe: source '{}', expected parent, zero, random_router "
      "or fresh",
      name);
}

Axis axis_from(const std::string& name) {
  for (Axis axis :
       {Axis::kVocab, Axis::kResidual, Axis::kHead, Axis::kKvHead,
        Axis::kHeadDim, Axis::kFfn, Axis::kSharedFfn, Axis::kExpert}) {
    if (name == to_string(axis)) return axis;
  }
  user_error("reading a recipe: found an axis '{}'", name);
}

void check_fresh(const TensorRecipe& tensor) {
  if (tensor.source != Source::kFresh) return;
  const TensorRecipe& drawn =
      tensor.steps.empty() ? tensor : tensor.steps.front();
  const bool says =
      drawn.find<Fresh>() != nullptr || drawn.find<ClosedCopies>() != nullptr;
  if (drawn.source == Source::kFresh && says) return;
  user_error(
      "reading a recipe: found {} from 'fresh', expected 'fresh' to say "
      "what it is filled with",
      tensor.child);
}

TensorRecipe tensor_from_json(const Json& json) {
  TensorRecipe tensor;
  json.at("child").get_to(tensor.child);
  json.at("parent").get_to(tensor.parent);
  tensor.source = source_from(json.at("source").get<std::string>());
  json.at("shape").get_to(tensor.shape);
  for (const Json& dimension : json.at("dimensions")) {
    tensor.dimensions.push_back(dimension_from_json(dimension));
  }
  json.at("models").get_to(tensor.models);
  json.at("scale").get_to(tensor.scale);
  json.at("stream").get_to(tensor.stream);
  json.at("layer").get_to(tensor.layer);
  tensor.coded = json.value("coded", false);
  json.at("carry_state").get_to(tensor.carry_state);
  json.at("produced_copies").get_to(tensor.produced_copies);
  json.at("contracted_copies").get_to(tensor.contracted_copies);
  json.at("gradient_scale").get_to(tensor.gradient_scale);
  json.at("lr_multiplier").get_to(tensor.lr_multiplier);
  json.at("eps_multiplier").get_to(tensor.eps_multiplier);
  json.at("weight_decay_multiplier").get_to(tensor.weight_decay_multiplier);
  json.at("settings_from").get_to(tensor.settings_from);
  set_matrix_copies(tensor);
  if (json.contains("matrix_copies")) {
    json.at("matrix_copies").at(0).get_to(tensor.row_copies);
    json.at("matrix_copies").at(1).get_to(tensor.column_copies);
  }
  for (const TransformKind& kind : transform_kinds()) {
    if (TransformPtr stated = kind.read(json)) tensor.set(std::move(stated));
  }
  if (json.contains("steps")) {
    for (const Json& step : json.at("steps")) {
      tensor.steps.push_back(tensor_from_json(step));
    }
  }
  check_fresh(tensor);
  return tensor;
}

Recipe parse(const Json& json) {
  Recipe recipe;
  json.at("operator").get_to(recipe.op);
  recipe.arguments = json.at("arguments");
  recipe.expert_shards = expert_shards_of(recipe.op, recipe.arguments);
  json.at("seed").get_to(recipe.seed);
  recipe.parent = model_config_from_json(json.at("parent"));
  recipe.child = model_config_from_json(json.at("child"));
  json.at("exact").get_to(recipe.exact);
  json.at("logit_budget").get_to(recipe.loss_budget);
  json.at("width_factor").get_to(recipe.width_factor);
  json.at("models").get_to(recipe.models);
  for (const Json& expert : json.at("experts")) {
    recipe.experts.push_back({expert.at("parent"), expert.at("model"),
                              slices_from_json(expert.at("ffn"))});
  }
  for (const auto& [axis, slices] : json.at("axes").items()) {
    recipe.axes[axis_from(axis)] = slices_from_json(slices);
  }
  json.at("layer_map").get_to(recipe.layer_map);
  json.at("layer_is_mapped").get_to(recipe.layer_is_mapped);
  for (const Json& tensor : json.at("tensors")) {
    recipe.tensors.push_back(tensor_from_json(tensor));
  }
  return recipe;
}

}  // namespace

Json to_json(const Recipe& recipe) {
  Json tensors = Json::array();
  for (const TensorRecipe& tensor : recipe.tensors) {
    tensors.push_back(tensor_to_json(tensor));
  }
  Json experts = Json::array();
  for (const ExpertRule& expert : recipe.experts) {
    experts.push_back(expert_to_json(expert));
  }
  Json axes = Json::object();
  for (const auto& [axis, slices] : recipe.axes) {
    axes[annuli::to_string(axis)] = slices_to_json(slices);
  }
  return {
      {"operator", recipe.op},
      {"arguments", recipe.arguments},
      {"seed", recipe.seed},
      {"parent", to_json(recipe.parent)},
      {"child", to_json(recipe.child)},
      {"exact", recipe.exact},
      {"logit_budget", recipe.loss_budget},
      {"axes", axes},
      {"experts", experts},
      {"models", recipe.models},
      {"width_factor", recipe.width_factor},
      {"layer_map", recipe.layer_map},
      {"layer_is_mapped", recipe.layer_is_mapped},
      {"tensors", tensors},
  };
}

Recipe recipe_from_json(const Json& json) {
  try {
    return parse(json);
  } catch (const Json::exception& error) {
    user_error("reading a recipe: {}", reason_of(error));
  }
}

const char* to_string(Source source) {
  switch (source) {
    case Source::kParent:
      return "parent";
    case Source::kZero:
      return "zero";
    case Source::kRandomRouter:
      return "random_router";
    case Source::kFresh:
      return "fresh";
  }
  return "?";
}

}  // namespace annuli::grow
