#include "annuli/train/weight_sample.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>

#include <bit>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/shared_work.h"

namespace annuli::train {
namespace {

// Of a matrix; and of one whose copies are other tensors, which are many and
// must wait for each other.
constexpr int64_t kEntries = 1024;
constexpr int64_t kEntriesOfMany = 256;

bool is_of_interest(const TensorSpec& spec) {
  return spec.layer >= 0 && spec.is_matrix() &&
         traits_of(spec.part).takes_noise;
}

double squares_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return sum;
}

// Of a tensor that `pick` has brought to the host.
std::vector<double> numbers(const at::Tensor& tensor) {
  const auto* first = tensor.const_data_ptr<double>();
  return {first, first + tensor.numel()};
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

// Where the entries of a row begin in what was seen, and where its changes.
constexpr size_t kValues = 2;
size_t changes(const std::vector<double>& seen) {
  return kValues + (seen.size() - kValues) / 2;
}

}  // namespace

WeightSample::WeightSample(const TensorTable& table, const grow::Recipe* growth)
    : table_(table), rows_(table.size()) {
  if (growth != nullptr) add_families(*growth);
  for (size_t row = 0; row < table.size(); ++row) {
    if (!is_of_interest(table[row])) continue;
    Row& sample = rows_[row];
    const int64_t count = table[row].shape()[0];
    if (sample.family >= 0) {
      sample.rows = families_[sample.family].rows(sample.place);
    } else {
      const int64_t stride = row_stride(count, table[row].numel(), kEntries);
      for (int64_t i = 0; i < count; i += stride) sample.rows.push_back(i);
    }
  }
}

void WeightSample::add_families(const grow::Recipe& growth) {
  ANNULI_CHECK(growth.tensors.size() == table_.size(), "{} lines for {} rows",
               growth.tensors.size(), table_.size());
  std::map<std::pair<std::string, std::vector<int64_t>>, std::vector<size_t>>
      by_parent;
  for (size_t row = 0; row < table_.size(); ++row) {
    const grow::TensorRecipe& line = growth.tensors[row];
    if (line.source != grow::Source::kParent || !is_of_interest(table_[row])) {
      continue;
    }
    by_parent[{line.parent, line.models}].push_back(row);
  }
  for (const auto& [parent, rows] : by_parent) {
    std::vector<const grow::TensorRecipe*> lines;
    for (const size_t row : rows) lines.push_back(&growth.tensors[row]);
    CopyFamily family(lines, lines.size() > 1 ? kEntriesOfMany : kEntries);
    if (!family.has_copies()) continue;
    for (size_t place = 0; place < rows.size(); ++place) {
      rows_[rows[place]].family = static_cast<int64_t>(families_.size());
      rows_[rows[place]].place = static_cast<int64_t>(place);
    }
    families_.push_back(std::move(family));
    members_.push_back(rows);
  }
}

at::Tensor WeightSample::pick(Row& row, const at::Tensor& weight) const {
  if (!row.index.defined()) {
    row.index = at::tensor(row.rows, at::kLong).to(weight.device());
  }
  return at::index_select(weight.detach(), 0, row.index)
      .to(at::kCPU, at::kDouble);
}

void WeightSample::before(size_t row, const at::Tensor& weight) {
  if (!is_seen(row)) return;
  RECORD_USER_SCOPE("measure weights");
  rows_[row].before = pick(rows_[row], weight);
}

void WeightSample::after(size_t row, const at::Tensor& weight) {
  if (!is_seen(row)) return;
  RECORD_USER_SCOPE("measure weights");
  Row& sample = rows_[row];
  const at::Tensor now = pick(sample, weight);
  const std::vector<double> values = numbers(now);
  const std::vector<double> change = numbers(now - sample.before);
  sample.before.reset();
  sample.seen = {squares_of(values), squares_of(change)};
  if (sample.family < 0) return;
  const CopyFamily& family = families_[sample.family];
  if (family.size() > 1) {
    sample.seen.insert(sample.seen.end(), values.begin(), values.end());
    sample.seen.insert(sample.seen.end(), change.begin(), change.end());
    return;
  }
  for (const std::vector<double>* of : {&values, &change}) {
    const CopyShare share = family.share({of->data()});
    sample.seen.insert(sample.seen.end(), {share.apart, share.total});
  }
}

CopyShare WeightSample::share_of(size_t family,
                                 const std::vector<std::vector<double>>& seen,
                                 bool of_change) const {
  std::vector<const double*> values;
  for (const size_t row : members_[family]) {
    values.push_back(seen[row].data() +
                     (of_change ? changes(seen[row]) : kValues));
  }
  if (values.size() == 1) return {values[0][0], values[0][1]};
  return families_[family].share(values);
}

// Each family counts with the size of its tensors.
std::optional<double> WeightSample::apart(
    const std::vector<std::vector<double>>& seen, bool of_change) const {
  if (families_.empty()) return std::nullopt;
  double apart = 0;
  double total = 0;
  for (size_t family = 0; family < families_.size(); ++family) {
    double entries = 0;
    double looked_at = 0;
    for (const size_t row : members_[family]) {
      entries += static_cast<double>(table_[row].numel());
      looked_at += static_cast<double>(std::ssize(rows_[row].rows) *
                                       table_[row].shape()[1]);
    }
    const CopyShare share = share_of(family, seen, of_change);
    apart += entries / looked_at * share.apart;
    total += entries / looked_at * share.total;
  }
  return ratio(apart, total);
}

StepMeasures WeightSample::take(const Transformer& model,
                                parallel::ProcessGroup& group) {
  RECORD_USER_SCOPE("measure weights");
  const auto seen = numbers_of_rows(
      model, group, "measuring the weights",
      [&](size_t row, const at::Tensor&) -> std::vector<double> {
        ANNULI_CHECK(!is_seen(row) || !rows_[row].seen.empty(),
                     "{} was not seen", table_[row].name);
        return rows_[row].seen;
      });
  for (Row& row : rows_) row.seen.clear();
  const int64_t layers = model.config().num_hidden_layers;
  std::vector<double> squares(layers);
  std::vector<double> entries(layers);
  double changed = 0;
  double all = 0;
  for (size_t row = 0; row < table_.size(); ++row) {
    if (!is_seen(row)) continue;
    const auto size = static_cast<double>(table_[row].numel());
    const double share = static_cast<double>(table_[row].shape()[0]) /
                         static_cast<double>(rows_[row].rows.size());
    squares[table_[row].layer] += share * seen[row][0];
    entries[table_[row].layer] += size;
    all += share * seen[row][0];
    changed += share * seen[row][1];
  }
  StepMeasures measures{.update_ratio = std::sqrt(ratio(changed, all)),
                        .copies_apart = apart(seen, /*of_change=*/false),
                        .update_apart = apart(seen, /*of_change=*/true)};
  for (int64_t layer = 0; layer < layers; ++layer) {
    measures.weight_rms.push_back(
        std::sqrt(ratio(squares[layer], entries[layer])));
  }
  for (const double mean : std::exchange(stream_squares_, {})) {
    measures.stream_rms.push_back(std::sqrt(mean));
  }
  return measures;
}

StepMeasures WeightSample::of_weights(const Transformer& model,
                                      parallel::ProcessGroup& group) {
  const RowOwners owners(table_, group.size());
  for (const size_t row : owners.rows_of(group.rank())) {
    const at::Tensor weight = own_weight(model, row);
    before(row, weight);
    after(row, weight);
  }
  return take(model, group);
}

bool is_measured(int64_t step, int64_t measure_steps, int64_t eval_steps) {
  if (measure_steps == 0) return false;
  return std::has_single_bit(static_cast<uint64_t>(step)) ||
         step % measure_steps == 0 ||
         (eval_steps > 0 && step % eval_steps == 0);
}

}  // namespace annuli::train
