#include "annuli/report/run_history.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/train/history.h"

namespace annuli::report {
namespace {

constexpr size_t kMostPhases = 1000;
constexpr size_t kMostDepths = 4000;
constexpr size_t kMostLayers = 10000;
// No figure of a run comes near; sums of what is below stay finite.
constexpr double kLargest = 1e100;

constexpr std::array<std::string_view, kColumns> kKeys = {"loss",
                                                          "grad_norm",
                                                          "learning_rate",
                                                          "tokens_per_second",
                                                          "peak_memory_bytes",
                                                          "loss_rise",
                                                          "moe_aux_loss",
                                                          "moe_z_loss",
                                                          "moe_load_imbalance",
                                                          "dead_experts",
                                                          "update_ratio",
                                                          "copies_apart",
                                                          "update_apart",
                                                          "load_entropy",
                                                          "smooth_loss"};

// Builds the columns line by line; errors name the line.
class Reader : public HistoryLines {
 public:
  Reader(std::filesystem::path path, RunHistory& history)
      : path_(std::move(path)), history_(history) {}

  void add(Json line) override {
    const size_t count = history_.steps.size();
    const double tokens = tokens_;
    const double seconds = seconds_;
    try {
      take(std::move(line));
    } catch (const UserError&) {
      --line_;
      cut_to(count);
      tokens_ = tokens;
      seconds_ = seconds;
      throw;
    }
  }

  // The mean of a step and those around it in its phase, so that no seam is
  // blurred; a fortieth of the phase's steps on either side.
  size_t smooth() override {
    const Steps& steps = history_.steps;
    const size_t done = steps.columns[kSmoothLoss].size();
    if (done == steps.size()) return done;
    size_t changed = done;
    for (size_t begin = smoothed_phase_, end = begin; begin < steps.size();
         begin = end) {
      while (end < steps.size() && steps.phase[end] == steps.phase[begin]) {
        ++end;
      }
      const size_t around = std::clamp<size_t>((end - begin) / 40, 1, 250);
      // Means of as many steps as before, of which none is new, stay.
      size_t first = begin;
      if (begin < done && around == smoothed_around_) {
        first = std::max(begin, done - std::min(done, around));
      }
      smooth(begin, end, around, first);
      changed = std::min(changed, first);
      smoothed_phase_ = begin;
      smoothed_around_ = around;
    }
    return changed;
  }

 private:
  void take(Json line) {
    ++line_;
    if (!line.is_object()) refuse("it is no object");
    const std::string type = text(line, "type");
    const int32_t phase = phase_of(text(line, "phase"));
    if (type == "step") return add_step(line, phase);
    std::vector<Event>* const events = events_of(type);
    if (events == nullptr) return;  // of a later version
    if (type == "boundary") {
      grown_ += std::max(number(line, "seconds", 0), 0.0);
    }
    events->push_back({history_.steps.size(), std::move(line)});
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> reason,
                           Args&&... args) const {
    user_error("reading the history {}: line {}: {}; is it of an Annuli run?",
               path_.string(), line_,
               fmt::format(reason, std::forward<Args>(args)...));
  }

  std::string text(const Json& line, const char* key) const {
    const auto found = line.find(key);
    if (found == line.end() || !found->is_string()) {
      refuse("expected a text in '{}'", key);
    }
    return *found;
  }

  // A finite number; `missing` where there is none (null is none).
  double number(const Json& line, std::string_view key, double missing) const {
    const auto found = line.find(std::string(key));
    if (found == line.end() || found->is_null()) return missing;
    if (!found->is_number() || std::abs(found->get<double>()) > kLargest) {
      refuse("expected a number in '{}', found {}", key, quote(found->dump()));
    }
    return found->get<double>();
  }

  double positive(const Json& line, const char* key) const {
    const double value = number(line, key, 0);
    if (!(value > 0)) refuse("expected a number above 0 in '{}'", key);
    return value;
  }

  int32_t phase_of(const std::string& name) {
    auto& phases = history_.phases;
    const auto found = std::ranges::find(phases, name);
    if (found == phases.end()) {
      if (phases.size() == kMostPhases) {
        refuse("it is of phase number {}, more than can be shown",
               kMostPhases + 1);
      }
      phases.push_back(name);
      history_.loads.emplace_back();
      return static_cast<int32_t>(phases.size() - 1);
    }
    return static_cast<int32_t>(found - phases.begin());
  }

  std::vector<Event>* events_of(const std::string& type) {
    if (type == "boundary") return &history_.boundaries;
    if (type == "evaluation") return &history_.evaluations;
    if (type == "phase") return &history_.phase_ends;
    if (type == "rollback") return &history_.rollbacks;
    return nullptr;
  }

  void add_step(const Json& line, int32_t phase) {
    Steps& steps = history_.steps;
    const double own = positive(line, "tokens");
    const double rate = number(line, key_of(kTokensPerSecond), kNotRecorded);
    const auto step = line.find("step");
    if (step == line.end() || !fits_in<int64_t>(*step)) {
      refuse("expected a whole number in 'step'");
    }
    for (uint8_t column = 0; column < kLoadEntropy; ++column) {
      const auto key = key_of(static_cast<Column>(column));
      steps.columns[column].push_back(number(line, key, kNotRecorded));
    }
    if (std::isnan(steps.columns[kLoss].back())) {
      refuse("expected a number in 'loss'");
    }
    steps.phase.push_back(phase);
    steps.step.push_back(step->get<int64_t>());
    steps.own_tokens.push_back(own);
    tokens_ += own;
    if (rate > 0) seconds_ += own / rate;
    steps.tokens.push_back(tokens_);
    steps.seconds.push_back(seconds_ + grown_);
    steps.columns[kLoadEntropy].push_back(add_load(line, phase));
    add_depth(line);
  }

  std::vector<double> of_layers(const Json& line, const char* key) const {
    std::vector<double> values;
    const auto found = line.find(key);
    if (found == line.end()) return values;
    if (!found->is_array() || found->size() > kMostLayers) {
      refuse("expected a number for each layer in '{}'", key);
    }
    for (const Json& value : *found) {
      if (value.is_null()) {
        values.push_back(kNotRecorded);
      } else if (value.is_number() &&
                 std::abs(value.get<double>()) <= kLargest) {
        values.push_back(value);
      } else {
        refuse("expected a number for each layer in '{}'", key);
      }
    }
    return values;
  }

  // Every second one goes when there are too many.
  void add_depth(const Json& line) {
    Depth depth{.step = history_.steps.size() - 1,
                .weight_rms = of_layers(line, "weight_rms"),
                .stream_rms = of_layers(line, "stream_rms")};
    if (depth.weight_rms.empty() && depth.stream_rms.empty()) return;
    if (measured_++ % depth_stride_ != 0) return;
    std::vector<Depth>& depths = history_.depths;
    depths.push_back(std::move(depth));
    if (depths.size() < kMostDepths) return;
    for (size_t i = 1; 2 * i < depths.size(); ++i) {
      depths[i] = std::move(depths[2 * i]);
    }
    depths.resize((depths.size() + 1) / 2);
    depth_stride_ *= 2;
  }

  // Returns the entropy.
  double add_load(const Json& line, int32_t phase) {
    const auto found = line.find("expert_load");
    if (found == line.end()) return kNotRecorded;
    std::vector<std::vector<double>> slots;
    try {
      slots = found->get<std::vector<std::vector<double>>>();
    } catch (const Json::exception&) {
      refuse("expected 'expert_load' as [layer][expert] numbers");
    }
    check_slots(slots, history_.loads[phase]);
    history_.loads[phase].add(history_.steps.size() - 1, slots);
    return entropy(slots);
  }

  void check_slots(const std::vector<std::vector<double>>& slots,
                   const LoadMap& before) const {
    bool good = !slots.empty() && !slots.front().empty();
    for (const std::vector<double>& layer : slots) {
      good = good && layer.size() == slots.front().size() &&
             std::ranges::all_of(layer, [](double count) {
               return count >= 0 && count <= kLargest;
             });
    }
    if (!good || !before.fits(slots)) {
      refuse(
          "expected 'expert_load' with as many experts in each layer and "
          "step of a phase");
    }
  }

  static double entropy(const std::vector<std::vector<double>>& slots) {
    const auto experts = static_cast<double>(slots.front().size());
    if (experts < 2) return 1;
    double sum = 0;
    for (const std::vector<double>& layer : slots) {
      const double total = std::accumulate(layer.begin(), layer.end(), 0.0);
      for (const double count : layer) {
        if (count > 0) sum -= count / total * std::log(count / total);
      }
    }
    return sum / (static_cast<double>(slots.size()) * std::log(experts));
  }

  void cut_to(size_t count) {
    Steps& steps = history_.steps;
    steps.phase.resize(count);
    steps.step.resize(count);
    for (auto* sums : {&steps.tokens, &steps.seconds, &steps.own_tokens}) {
      sums->resize(count);
    }
    for (std::vector<double>& column : steps.columns) {
      column.resize(std::min(column.size(), count));
    }
  }

  // The places from `first` on of a phase that begins at `begin`.
  void smooth(size_t begin, size_t end, size_t around, size_t first) {
    const std::vector<double>& loss = history_.steps.columns[kLoss];
    std::vector<double>& means = history_.steps.columns[kSmoothLoss];
    means.resize(first);
    for (size_t i = first; i < end; ++i) {
      const size_t from = i - std::min(around, i - begin);
      const size_t to = std::min(i + around + 1, end);
      const double sum =
          std::accumulate(loss.begin() + static_cast<ptrdiff_t>(from),
                          loss.begin() + static_cast<ptrdiff_t>(to), 0.0);
      means.push_back(sum / static_cast<double>(to - from));
    }
  }

  const std::filesystem::path path_;
  size_t line_ = 0;
  RunHistory& history_;
  double tokens_ = 0;
  double seconds_ = 0;
  double grown_ = 0;           // seconds of growth and its proofs
  size_t smoothed_phase_ = 0;  // where that of the last smoothed step begins
  size_t smoothed_around_ = 0;
  size_t measured_ = 0;
  size_t depth_stride_ = 1;
};

}  // namespace

std::string_view key_of(Column column) { return kKeys.at(column); }

std::unique_ptr<HistoryLines> history_lines(std::filesystem::path path,
                                            RunHistory& into) {
  return std::make_unique<Reader>(std::move(path), into);
}

RunHistory read_run_history(const std::filesystem::path& path) {
  RunHistory history;
  Reader reader(path, history);
  history.torn = train::visit_history(
      path, [&](Json line) { reader.add(std::move(line)); });
  reader.smooth();
  if (history.steps.size() > 0) return history;
  user_error(
      "reading the history {}: it has no step yet{}; try again when the run "
      "has made one",
      path.string(), history.torn ? ", only the beginning of a line" : "");
}

}  // namespace annuli::report
