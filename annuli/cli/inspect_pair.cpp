#include "annuli/cli/inspect_pair.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
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
  // Where the tensors are changed: by how much of their size.
  double least_change = 0;
  double most_change = 0;
};

std::string shapes_of(const Json& tensor) {
  const Json first = tensor.value("first_shape", Json());
  const Json second = tensor.value("second_shape", Json());
  if (first.is_null()) return second.dump();
  if (second.is_null() || first == second) return first.dump();
  return first.dump() + " -> " + second.dump();
}

bool is_changed(const Json& tensor) {
  return tensor.value("relation", "") == "changed" &&
         std::isfinite(tensor.at("change").get<double>());
}

// One tensor, as a line that others may be counted into.
Line line_of(const Json& tensor) {
  Line line{.what = without_numbers(tensor.at("what")),
            .name = without_numbers(tensor.at("name")),
            .shapes = shapes_of(tensor),
            .count = 1,
            .first_name = tensor.at("name")};
  if (is_changed(tensor)) {
    line.what = "changed";
    line.least_change = line.most_change = tensor.at("change");
  }
  return line;
}

bool tells_the_same(const Line& a, const Line& b) {
  return a.what == b.what && a.name == b.name && a.shapes == b.shapes;
}

std::vector<Line> lines_of(const Json& tensors) {
  std::vector<Line> lines;
  for (const Json& tensor : tensors) {
    Line line = line_of(tensor);
    const auto same = std::ranges::find_if(
        lines, [&](const Line& other) { return tells_the_same(line, other); });
    if (same == lines.end()) {
      lines.push_back(std::move(line));
      continue;
    }
    ++same->count;
    same->least_change = std::min(same->least_change, line.least_change);
    same->most_change = std::max(same->most_change, line.most_change);
  }
  return lines;
}

std::string what_of(const Line& line) {
  if (line.what != "changed") return line.what;
  const std::string least = fmt::format("{:.2g}", line.least_change);
  const std::string most = fmt::format("{:.2g}", line.most_change);
  return fmt::format("changed by {} of its size",
                     least == most ? least : least + " to " + most);
}

void print_line(const std::string& count, const std::string& name,
                const std::string& shapes, const std::string& what) {
  fmt::print("  {:>6} {}  {}: {}\n", count, name, shapes, what);
}

void print_tensors(const Json& tensors) {
  for (const Line& line : lines_of(tensors)) {
    if (line.count > 1) {
      print_line(fmt::format("{} x", line.count), line.name, line.shapes,
                 what_of(line));
    } else {
      print_line("", line.first_name, line.shapes, what_of(line));
    }
  }
}

void print_each_tensor(const Json& tensors) {
  for (const Json& tensor : tensors) {
    print_line("", tensor.at("name"), shapes_of(tensor), tensor.at("what"));
  }
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
  const Json& tensors = comparison.at("tensors");
  if (each) {
    print_each_tensor(tensors);
  } else {
    print_tensors(tensors);
  }
}

}  // namespace annuli::cli
