#include "annuli/grow/compose.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/transforms/closed_copies.h"

namespace annuli::grow {
namespace {

// A tensor that was made, not read, is laid out as it was drawn.
std::vector<DimensionRecipe> dimensions_of(const TensorRecipe& tensor) {
  if (!tensor.dimensions.empty()) return tensor.dimensions;
  std::vector<DimensionRecipe> whole;
  for (int64_t size : tensor.shape) whole.push_back({{{0, size}}, 1});
  return whole;
}

void append_steps(std::vector<TensorRecipe>& steps,
                  const TensorRecipe& tensor) {
  if (tensor.steps.empty()) {
    const bool changes = !tensor.is_identity() || tensor.gradient_scale != 1;
    if (changes) steps.push_back(tensor);
  } else {
    steps.insert(steps.end(), tensor.steps.begin(), tensor.steps.end());
  }
}

void compose_state(const TensorRecipe& first, TensorRecipe& line) {
  line.carry_state = line.carry_state && first.carry_state;
  line.produced_copies *= first.produced_copies;
  line.contracted_copies *= first.contracted_copies;
  line.gradient_scale *= first.gradient_scale;
  line.lr_multiplier *= first.lr_multiplier;
  line.eps_multiplier *= first.eps_multiplier;
  line.weight_decay_multiplier *= first.weight_decay_multiplier;
  line.row_copies *= first.row_copies;
  line.column_copies *= first.column_copies;
  line.settings_from = first.settings_from;
}

// Those of `then`, and what is left of those before it.
void compose_transforms(const TensorRecipe& first, const TensorRecipe& then,
                        TensorRecipe& line) {
  for (const TransformPtr& transform : then.transforms) {
    transform->check_after(first);
  }
  line.transforms.clear();
  for (const TransformPtr& transform : first.transforms) {
    if (auto left = transform->followed_by(then, transform)) {
      line.set(std::move(left));
    }
  }
  for (const TransformPtr& transform : then.transforms) line.set(transform);
}

// A step that takes the front of a tensor passes for one that changes nothing
// (is_identity knows the child's shape alone), and then the line's transforms
// are carried out on that part. Noise that is set against the whole tensor must
// be there before the cut.
bool cuts_what_was_measured(const TensorRecipe& first,
                            const TensorRecipe& then) {
  return then.is_identity() && first.shape != then.shape &&
         std::ranges::any_of(first.transforms, [](const TransformPtr& of) {
           return of->added() != nullptr;
         });
}

// Noise on copies is judged where it lies (verify/sketch.h).
void refuse_another_layout(const TensorRecipe& first,
                           const TensorRecipe& then) {
  const bool keeps = then.is_identity() && first.shape == then.shape;
  if (first.steps.empty() || keeps) return;
  for (const TransformPtr& transform : first.steps.back().transforms) {
    if (transform->added() == nullptr) continue;
    user_error(
        "chaining: found {} of copies that were given noise, expected noise in "
        "front of the step that copies, or what follows it as a growth of its "
        "own",
        then.child);
  }
}

TensorRecipe compose_line(const TensorRecipe& first, const TensorRecipe& then) {
  refuse_another_layout(first, then);
  TensorRecipe line = then;
  compose_state(first, line);
  line.parent = first.parent;
  line.source = first.source;
  line.models = first.models;
  line.scale *= first.scale;
  if (first.source == Source::kRandomRouter) line.layer = first.layer;
  compose_transforms(first, then, line);
  const auto below = dimensions_of(first);
  for (size_t i = 0; i < line.dimensions.size(); ++i) {
    line.dimensions[i].slices =
        compose(below[i].slices, line.dimensions[i].slices);
    line.dimensions[i].copies = copies_of(line.dimensions[i].slices);
  }
  line.steps.clear();
  append_steps(line.steps, first);
  if (cuts_what_was_measured(first, then)) {
    line.steps.push_back(then);
  } else {
    append_steps(line.steps, then);
  }
  line.stream = line.steps.size() == 1 ? line.steps[0].stream : then.stream;
  if (line.steps.size() <= 1) line.steps.clear();
  return line;
}

// Zeros stay zeros, whatever they are copied to.
TensorRecipe zeros(const TensorRecipe& first, const TensorRecipe& then) {
  TensorRecipe line = then;
  compose_state(first, line);
  line.source = Source::kZero;
  line.parent.clear();
  line.dimensions.clear();
  line.steps.clear();
  line.transforms.clear();
  for (const TransformPtr& transform : then.transforms) {
    if (auto left = transform->on_zeros(transform)) line.set(std::move(left));
  }
  // Zeros that are closed are zeros no longer.
  if (line.find<ClosedCopies>() != nullptr) line.source = Source::kFresh;
  line.carry_state = false;
  return line;
}

// The units of an expert that are not simply all of the axis.
void compose_units(const Recipe& first, const Recipe& then,
                   std::vector<Slice>& units) {
  const Recipe& other = first.experts.empty() ? first : then;
  const auto axis = other.axes.find(Axis::kFfn);
  if (units.empty() || axis == other.axes.end()) return;
  units = &other == &first ? compose(axis->second, units)
                           : compose(units, axis->second);
}

std::vector<ExpertRule> compose_experts(const Recipe& first,
                                        const Recipe& then) {
  std::vector<ExpertRule> experts =
      then.experts.empty() ? first.experts : then.experts;
  for (ExpertRule& expert : experts) {
    if (!first.experts.empty() && !then.experts.empty()) {
      expert = first.experts.at(expert.parent);
    }
    compose_units(first, then, expert.ffn);
  }
  return experts;
}

std::map<Axis, std::vector<Slice>> compose_axes(const Recipe& first,
                                                const Recipe& then) {
  std::map<Axis, std::vector<Slice>> axes = first.axes;
  for (const auto& [axis, slices] : then.axes) {
    const auto found = first.axes.find(axis);
    axes[axis] =
        found == first.axes.end() ? slices : compose(found->second, slices);
  }
  return axes;
}

class Lines {
 public:
  explicit Lines(const Recipe& recipe) {
    for (const TensorRecipe& tensor : recipe.tensors) {
      lines_.emplace(tensor.child, &tensor);
    }
  }
  const TensorRecipe* find(const std::string& name) const {
    const auto found = lines_.find(name);
    return found == lines_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string, const TensorRecipe*> lines_;
};

TensorRecipe follow(const Lines& lines, const TensorRecipe& then) {
  if (then.source == Source::kParent) {
    const TensorRecipe* first = lines.find(then.parent);
    ANNULI_CHECK(first != nullptr,
                 "{} is made of {}, which the step before does not make",
                 then.child, then.parent);
    return first->source == Source::kZero ? zeros(*first, then)
                                          : compose_line(*first, then);
  }
  TensorRecipe line = then;
  line.layer = -1;  // of a model that is never made
  if (const TensorRecipe* first = lines.find(then.settings_from)) {
    compose_state(*first, line);
    line.carry_state = false;
  }
  return line;
}

}  // namespace

std::vector<Slice> compose(const std::vector<Slice>& first,
                           const std::vector<Slice>& then) {
  std::vector<Slice> result;
  for (const Slice& slice : then) {
    if (slice.is_new()) {
      result.push_back(slice);
      continue;
    }
    int64_t begin = 0;  // of the middle's entries that `below` lays out
    for (const Slice& below : first) {
      const int64_t from = std::max(slice.start, begin);
      const int64_t to =
          std::min(slice.start + slice.length, begin + below.length);
      if (from < to) {
        result.push_back(
            {below.is_new() ? kNew : below.start + from - begin, to - from});
      }
      begin += below.length;
    }
  }
  return result;
}

Recipe compose(const Recipe& first, const Recipe& then) {
  ANNULI_CHECK(first.child == then.parent && first.seed == then.seed,
               "{} with seed {} does not continue {} with seed {}", then.op,
               then.seed, first.op, first.seed);
  if (then.needs_router_mean()) {
    user_error(
        "chaining {}: a {} router needs the activations of a model that is "
        "never made; expected it first in the chain, or router: random",
        then.op, then.router_centroids() > 0 ? "centroids" : "mean-orthogonal");
  }
  if (then.models > 1) {
    user_error("chaining {}: several parents can only be merged first",
               then.op);
  }
  Recipe recipe = then;
  recipe.op = "chain";
  recipe.parent = first.parent;
  recipe.exact = first.exact && then.exact;
  recipe.loss_budget = first.loss_budget + then.loss_budget;
  recipe.axes = compose_axes(first, then);
  recipe.experts = compose_experts(first, then);
  recipe.models = first.models;
  recipe.expert_shards = first.expert_shards * then.expert_shards;
  recipe.width_factor = first.width_factor * then.width_factor;
  const Lines lines(first);
  for (TensorRecipe& tensor : recipe.tensors) tensor = follow(lines, tensor);
  for (size_t i = 0; i < recipe.layer_map.size(); ++i) {
    const int64_t middle = then.layer_map[i];
    recipe.layer_map[i] = first.layer_map[middle];
    recipe.layer_is_mapped[i] =
        then.layer_is_mapped[i] && first.layer_is_mapped[middle];
  }
  return recipe;
}

}  // namespace annuli::grow
