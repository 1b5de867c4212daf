#include "annuli/verify/compare_models.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::verify {
namespace {

using Shape = std::vector<int64_t>;

// A tensor against fixed random rows, over its norm: equal for multiples.
struct Fingerprint {
  double norm = 0;
  double projection = 0;  // of the tensor / norm on one normal number an entry
};

Fingerprint fingerprint_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.reshape({-1});
  constexpr int64_t kEntries = int64_t{1} << 21;
  at::Tensor r = at::empty({std::min(kEntries, flat.numel())}, at::kDouble);
  kernels::fill_normal(r, CounterRng(0, "inspect/fingerprint"), 1);
  double square = 0;
  double projection = 0;
  for (int64_t begin = 0; begin < flat.numel(); begin += kEntries) {
    const int64_t count = std::min(kEntries, flat.numel() - begin);
    const at::Tensor part = flat.narrow(0, begin, count).to(at::kDouble);
    square += part.dot(part).item<double>();
    projection += part.dot(r.narrow(0, 0, count)).item<double>();
  }
  const double norm = std::sqrt(square);
  return {norm, norm > 0 ? projection / norm : 0};
}

// Names and shapes of the config's table that the files hold; what is missing
// is `faults`' to tell.
std::vector<std::pair<std::string, Shape>> tensors_of(const ModelFile& file) {
  std::vector<std::pair<std::string, Shape>> tensors;
  for (const TensorSpec& spec : tensor_table(file.config())) {
    try {
      tensors.emplace_back(spec.name, file.tensor(spec.name).sizes().vec());
    } catch (const UserError&) {
      continue;
    }
  }
  return tensors;
}

// Of the first model's tensors, made as they are asked for.
class Sources {
 public:
  explicit Sources(const ModelFile& file) : file_(file) {
    for (const auto& [name, shape] : tensors_of(file)) {
      by_shape_[shape].push_back(name);
    }
  }

  // A tensor of the same shape and direction; "" if there is none.
  std::string find(const at::Tensor& tensor) {
    const auto names = by_shape_.find(tensor.sizes().vec());
    if (names == by_shape_.end()) return "";
    const Fingerprint wanted = fingerprint_of(tensor);
    if (wanted.norm == 0) return "";
    // Storage moves a projection by some 2^-9 (bf16), those of two different
    // tensors differ by about 1; `relate` decides.
    double nearest = 0x1p-6;
    std::string source;
    for (const std::string& name : names->second) {
      const double off = std::abs(of(name).projection - wanted.projection);
      if (off >= nearest) continue;
      nearest = off;
      source = name;
    }
    return source;
  }

 private:
  const Fingerprint& of(const std::string& name) {
    const auto [entry, is_new] = known_.try_emplace(name);
    if (is_new) {
      entry->second = fingerprint_of(file_.tensor(name));
    }
    return entry->second;
  }

  const ModelFile& file_;
  std::map<Shape, std::vector<std::string>> by_shape_;
  std::map<std::string, Fingerprint> known_;
};

bool is_zero(const at::Tensor& tensor) {
  return tensor.abs().max().item<double>() == 0;
}

// What a tensor without a namesake is, made of `source`.
std::string made_of(const TensorRelation& relation, const std::string& source) {
  switch (relation.relation) {
    case Relation::kEqual:
      return "new, equal to " + source;
    case Relation::kScaled:
      if (relation.factor == 1) return "new, a rounding of " + source;
      break;
    default:
      break;
  }
  return fmt::format("new, {} of {}", describe(relation), source);
}

TensorDifference difference_of(const std::string& name, const ModelFile& first,
                               const ModelFile& second,
                               const std::map<std::string, Shape>& in_first,
                               Sources& sources) {
  const at::Tensor tensor = second.tensor(name);
  TensorDifference difference{.name = name,
                              .second_shape = tensor.sizes().vec()};
  const auto found = in_first.find(name);
  if (found != in_first.end()) {
    difference.first_shape = found->second;
    difference.source = name;
  } else {
    difference.source = sources.find(tensor);
  }
  if (difference.source.empty()) {
    difference.what = is_zero(tensor) ? "new, zeros" : "new";
    return difference;
  }
  difference.relation =
      relate(first.tensor(difference.source), tensor, second.config().head_dim);
  difference.what = describe(difference.relation);
  const bool by_name = difference.source == name;
  if (!by_name && difference.relation.relation == Relation::kChanged) {
    difference.source.clear();
    difference.what = "new";
  } else if (!by_name) {
    difference.what = made_of(difference.relation, difference.source);
  } else if (difference.relation.factor == 0 && is_zero(tensor)) {
    difference.what = "zeros now";
  }
  return difference;
}

std::vector<SettingDifference> settings_of(const Json& first,
                                           const Json& second) {
  std::set<std::string> keys;
  for (const auto& [key, value] : first.items()) keys.insert(key);
  for (const auto& [key, value] : second.items()) keys.insert(key);
  std::vector<SettingDifference> differences;
  for (const std::string& key : keys) {
    const Json a = first.value(key, Json());
    const Json b = second.value(key, Json());
    if (a != b) differences.push_back({key, a, b});
  }
  return differences;
}

}  // namespace

ModelComparison compare_models(const ModelFile& first,
                               const ModelFile& second) {
  ModelComparison comparison;
  comparison.settings = settings_of(first.config_json(), second.config_json());
  std::map<std::string, Shape> in_first;
  for (const auto& [name, shape] : tensors_of(first)) in_first[name] = shape;
  Sources sources(first);
  std::set<std::string> in_second;
  for (const auto& [name, shape] : tensors_of(second)) {
    in_second.insert(name);
    comparison.tensors.push_back(
        difference_of(name, first, second, in_first, sources));
  }
  for (const auto& [name, shape] : in_first) {
    if (in_second.contains(name)) continue;
    comparison.tensors.push_back(
        {.name = name, .first_shape = shape, .what = "gone"});
  }
  return comparison;
}

Json to_json(const ModelComparison& comparison) {
  Json settings = Json::array();
  for (const SettingDifference& s : comparison.settings) {
    settings.push_back(
        {{"key", s.key}, {"first", s.first}, {"second", s.second}});
  }
  Json tensors = Json::array();
  for (const TensorDifference& t : comparison.tensors) {
    Json tensor = {{"name", t.name}, {"what", t.what}};
    if (!t.first_shape.empty()) tensor["first_shape"] = t.first_shape;
    if (!t.second_shape.empty()) tensor["second_shape"] = t.second_shape;
    if (!t.source.empty()) {
      tensor["source"] = t.source;
      tensor["relation"] = to_string(t.relation.relation);
      tensor["factor"] = t.relation.factor;
      tensor["change"] = t.relation.change;
    }
    tensors.push_back(std::move(tensor));
  }
  return {{"config", settings}, {"tensors", tensors}};
}

}  // namespace annuli::verify
