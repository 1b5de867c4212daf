#include "annuli/cli/inspect_pair.h"

#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/verify/compare_models.h"

namespace annuli::cli {
namespace {

// "model.layers.12.mlp" -> "model.layers.*.mlp"; a number at the end is a
// figure, "times 0.5".
std::string without_numbers(const std::string& text) {
  std::string result;
  std::string word;
  for (const char c : text) {
    if (c != '.') {
      word += c;
      continue;
    }
    const bool number =
        !word.empty() && word.find_first_not_of("0123456789") == word.npos;
    result += (number ? "*" : word) + c;
    word.clear();
  }
  return result + word;
}

struct Line {
  std::string what;
  std::string name;
  std::string shapes;
  int64_t count = 0;
  std::string first_name;
};

std::string shapes_of(const Json& tensor) {
  const Json first = tensor.value("first_shape", Json());
  const Json second = tensor.value("second_shape", Json());
  if (first.is_null()) return second.dump();
  if (second.is_null() || first == second) return first.dump();
  return first.dump() + " -> " + second.dump();
}

// What a tensor is said to be, without figures that differ from one to the next
// and layers that its source lies in.
std::string kind_of(const std::string& what) {
  std::string kind = without_numbers(what);
  const size_t figure = kind.find("changed by ");
  return figure == 0 ? "changed" : kind;
}

std::vector<Line> lines_of(const Json& tensors, bool each) {
  std::vector<Line> lines;
  for (const Json& tensor : tensors) {
    const std::string name = tensor.at("name");
    const std::string what = tensor.at("what");
    Line line{.what = each ? what : kind_of(what),
              .name = each ? name : without_numbers(name),
              .shapes = shapes_of(tensor),
              .count = 1,
              .first_name = name};
    bool merged = false;
    for (Line& other : lines) {
      if (!each && other.what == line.what && other.name == line.name &&
          other.shapes == line.shapes) {
        ++other.count;
        merged = true;
        break;
      }
    }
    if (!merged) lines.push_back(std::move(line));
  }
  return lines;
}

void print_settings(const Json& settings) {
  fmt::print("\nconfig\n");
  if (settings.empty()) fmt::print("  equal\n");
  const auto text = [](const Json& value) {
    return value.is_null() ? std::string("-") : value.dump();
  };
  for (const Json& s : settings) {
    fmt::print("  {:<28} {} -> {}\n", s.at("key").get<std::string>(),
               text(s.at("first")), text(s.at("second")));
  }
}

}  // namespace

Json compare_paths(const fs::path& first, const fs::path& second) {
  const ModelFile a(first);
  const ModelFile b(second);
  Json json = verify::to_json(verify::compare_models(a, b));
  json["first"] = first.string();
  json["second"] = second.string();
  return json;
}

void print_comparison(const Json& comparison, bool each) {
  fmt::print("{} -> {}\n", comparison.at("first").get<std::string>(),
             comparison.at("second").get<std::string>());
  print_settings(comparison.at("config"));
  fmt::print("\ntensors\n");
  for (const Line& line : lines_of(comparison.at("tensors"), each)) {
    const std::string count =
        line.count > 1 ? fmt::format("{} x", line.count) : "";
    fmt::print("  {:>6} {}  {}: {}\n", count,
               line.count > 1 ? line.name : line.first_name, line.shapes,
               line.what);
  }
}

}  // namespace annuli::cli
