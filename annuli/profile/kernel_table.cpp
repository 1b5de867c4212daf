#include "annuli/profile/kernel_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace annuli::profile {
namespace {

// Scopes that say where we are, not what is computed.
constexpr std::array<std::string_view, 3> kFrames = {"step", "forward",
                                                     "backward"};

bool is_frame(const Event& event) {
  return event.kind == EventKind::kScope &&
         std::ranges::find(kFrames, event.name) != kFrames.end();
}

bool is_step(const Event& event) {
  return event.kind == EventKind::kScope && event.name == "step";
}

// The thread that does the steps, or -1.
int training_thread(const Recording& recording) {
  const auto step = std::ranges::find_if(recording.events, is_step);
  return step == recording.events.end() ? -1 : step->thread;
}

// Indices of a thread's events as they begin, an outer one before those in it.
std::vector<size_t> in_order(const Recording& recording, int thread) {
  std::vector<size_t> order;
  for (size_t i = 0; i < recording.events.size(); ++i) {
    if (recording.events[i].thread == thread) order.push_back(i);
  }
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const Event& x = recording.events[a];
    const Event& y = recording.events[b];
    return std::tuple(x.begin, -x.end, b) < std::tuple(y.begin, -y.end, a);
  });
  return order;
}

struct Own {
  const Event* event;
  int64_t nanoseconds;  // without the events inside
  bool in_step;
};

std::vector<Own> own_times(const Recording& recording, int thread) {
  std::vector<Own> owns;
  std::vector<size_t> open;  // of `owns`, the innermost last
  for (size_t index : in_order(recording, thread)) {
    const Event& event = recording.events[index];
    while (!open.empty() && owns[open.back()].event->end <= event.begin) {
      open.pop_back();
    }
    const int64_t duration = event.end - event.begin;
    const bool inside = !open.empty() && owns[open.back()].in_step;
    if (!open.empty()) owns[open.back()].nanoseconds -= duration;
    open.push_back(owns.size());
    owns.push_back({&event, duration, inside || is_step(event)});
  }
  return owns;
}

struct Sum {
  double calls = 0;
  double nanoseconds = 0;
  double flops = 0;
};

// The backward pass notes a node twice, its own event in one of the engine's.
constexpr std::string_view kEngine = "autograd::engine::evaluate_function: ";

// "torch::autograd::CppNode<annuli::kernels::(anonymous namespace)::RmsNorm>"
// -> "RmsNorm backward"
std::string short_name(const Event& event) {
  std::string name = event.name;
  if (const size_t node = name.find("CppNode<"); node != std::string::npos) {
    name = name.substr(node + 8, name.rfind('>') - node - 8);
    if (const size_t scope = name.rfind("::"); scope != std::string::npos) {
      name = name.substr(scope + 2);
    }
    return name + " backward";
  }
  if (name.starts_with(kEngine)) name = name.substr(kEngine.size());
  return name;
}

using ProductKey = std::pair<std::string, ProductShape>;  // dtype, shape

int64_t& dimension(ProductShape& shape, int which) {
  return which == 0 ? shape.m : (which == 1 ? shape.k : shape.n);
}

// Puts shapes together that differ in dimension `which` only: it becomes -1
// where more than `few` of them do.
void merge(std::map<ProductKey, Sum>& products, int which) {
  constexpr size_t few = 3;
  std::map<ProductKey, std::set<int64_t>> values;
  const auto without = [&](ProductKey key) {
    dimension(key.second, which) = -1;
    return key;
  };
  for (const auto& [key, sum] : products) {
    ProductKey copy = key;
    values[without(key)].insert(dimension(copy.second, which));
  }
  std::map<ProductKey, Sum> merged;
  for (const auto& [key, sum] : products) {
    const ProductKey wider = without(key);
    Sum& into = merged[values.at(wider).size() > few ? wider : key];
    into.calls += sum.calls;
    into.nanoseconds += sum.nanoseconds;
    into.flops += sum.flops;
  }
  products = std::move(merged);
}

std::string name_of(const ProductKey& key) {
  const auto text = [](int64_t size) {
    return size < 0 ? std::string("n") : std::to_string(size);
  };
  const ProductShape& shape = key.second;
  return fmt::format("gemm {} {}[{}, {}] x [{}, {}]", key.first,
                     shape.batch > 1 ? fmt::format("{} x ", shape.batch) : "",
                     text(shape.m), text(shape.k), text(shape.k),
                     text(shape.n));
}

// Sums by name; products by shape.
class Sums {
 public:
  void add(const Event& event, double nanoseconds) {
    Sum& sum = event.product.batch > 0 ? products_[{event.dtype, event.product}]
                                       : named_[short_name(event)];
    sum.calls += event.name.starts_with(kEngine) ? 0 : 1;
    sum.nanoseconds += nanoseconds;
    const ProductShape& shape = event.product;
    sum.flops += 2.0 * static_cast<double>(shape.m) *
                 static_cast<double>(shape.k) * static_cast<double>(shape.n) *
                 static_cast<double>(shape.batch);
  }

  std::vector<KernelRow> rows(double steps, double step_nanoseconds) {
    for (int which = 0; which < 3; ++which) merge(products_, which);
    for (const auto& [key, sum] : products_) named_[name_of(key)] = sum;
    std::vector<KernelRow> rows;
    for (const auto& [name, sum] : named_) {
      rows.push_back({.name = name,
                      .calls = sum.calls / steps,
                      .milliseconds = sum.nanoseconds / steps / 1e6,
                      .share = sum.nanoseconds / steps / step_nanoseconds,
                      .gflops = sum.flops / sum.nanoseconds});
    }
    std::ranges::sort(rows, std::greater(), &KernelRow::milliseconds);
    return rows;
  }

 private:
  std::map<std::string, Sum> named_;
  std::map<ProductKey, Sum> products_;
};

KernelRow sum_of(const std::vector<KernelRow>& rows, std::string name) {
  KernelRow sum{.name = std::move(name)};
  for (const KernelRow& row : rows) {
    sum.calls += row.calls;
    sum.milliseconds += row.milliseconds;
    sum.share += row.share;
  }
  return sum;
}

}  // namespace

KernelTable kernel_table(const Recording& recording) {
  Sums kernels;
  Sums frames;
  Sums elsewhere;
  KernelTable table;
  double nanoseconds = 0;
  const int training = training_thread(recording);
  for (size_t thread = 0; thread < recording.threads.size(); ++thread) {
    for (const Own& own : own_times(recording, static_cast<int>(thread))) {
      if (is_step(*own.event)) {
        ++table.steps;
        nanoseconds += static_cast<double>(own.event->end - own.event->begin);
      }
      Sums& sums =
          !own.in_step ? elsewhere : (is_frame(*own.event) ? frames : kernels);
      // Between its steps the thread that trains evaluates and saves.
      if (!own.in_step && static_cast<int>(thread) == training) continue;
      sums.add(*own.event, static_cast<double>(own.nanoseconds));
    }
  }
  if (table.steps == 0) return table;
  const auto steps = static_cast<double>(table.steps);
  table.milliseconds = nanoseconds / steps / 1e6;
  table.rows = kernels.rows(steps, nanoseconds / steps);
  table.frames = frames.rows(steps, nanoseconds / steps);
  table.unaccounted = sum_of(table.frames, "unaccounted");
  table.elsewhere = elsewhere.rows(steps, nanoseconds / steps);
  return table;
}

namespace {

class Text {
 public:
  explicit Text(size_t width) : width_(width) {
    text_ = fmt::format("  {:<{}} {:>8} {:>10} {:>7} {:>8}\n", "kernel", width_,
                        "calls", "ms a step", "share", "GFLOP/s");
  }

  void add(const KernelRow& row) {
    text_ += fmt::format("  {:<{}} {:>8.1f} {:>10.2f} {:>6.1f}%", row.name,
                         width_, row.calls, row.milliseconds, 100 * row.share);
    text_ += row.gflops > 0 ? fmt::format(" {:>8.0f}\n", row.gflops) : "\n";
  }

  std::string take() { return std::move(text_); }

 private:
  size_t width_;
  std::string text_;
};

KernelRow renamed(KernelRow row, const std::string& before) {
  row.name = before + row.name;
  return row;
}

}  // namespace

std::string to_text(const KernelTable& table, double smallest) {
  if (table.steps == 0) return "  no step was recorded\n";
  std::vector<KernelRow> shown;
  std::vector<KernelRow> rest;
  for (const KernelRow& row : table.rows) {
    (row.share >= smallest ? shown : rest).push_back(row);
  }
  if (!rest.empty()) {
    shown.push_back(sum_of(rest, fmt::format("{} others", rest.size())));
  }
  shown.push_back(table.unaccounted);
  for (const KernelRow& row : table.frames) {
    if (row.share >= smallest) shown.push_back(renamed(row, "  of it in "));
  }
  shown.push_back({.name = "step",
                   .calls = 1,
                   .milliseconds = table.milliseconds,
                   .share = 1});
  for (const KernelRow& row : table.elsewhere) {
    if (row.share < smallest) continue;
    shown.push_back(renamed(row, "beside it, other threads: "));
  }
  size_t width = 0;
  for (const KernelRow& row : shown) width = std::max(width, row.name.size());
  Text text(width);
  for (const KernelRow& row : shown) text.add(row);
  return text.take();
}

}  // namespace annuli::profile
