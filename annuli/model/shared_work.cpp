#include "annuli/model/shared_work.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "annuli/core/error.h"
#include "annuli/core/progress.h"
#include "annuli/model/row_owners.h"
#include "annuli/parallel/agree.h"

namespace annuli {
namespace {

void pass_one_token(const Transformer& model) {
  model.hidden_states(at::zeros(
      {1, 1}, at::TensorOptions().dtype(at::kLong).device(model.device())));
}

}  // namespace

at::Tensor own_weight(const Transformer& model, size_t row) {
  return model.is_coded(row) ? model.read_weight(row) : model.weight(row);
}

void make_passes(const Transformer& model, parallel::ProcessGroup& group,
                 const char* doing, const std::vector<Pass>& own) {
  const auto count = std::ssize(own);
  const int64_t most =
      model.parts() == nullptr ? count : parallel::highest(group, count);
  Progress progress(doing, count);
  for (const Pass& pass : own) {
    pass();
    progress.advance();
  }
  for (int64_t i = count; i < most; ++i) pass_one_token(model);
}

std::vector<double> in_order(parallel::ProcessGroup& group,
                             const std::map<int64_t, double>& own) {
  std::vector<double> numbered;
  for (const auto& [number, value] : own) {
    numbered.push_back(static_cast<double>(number));
    numbered.push_back(value);
  }
  std::map<int64_t, double> all;
  for (const auto& given : parallel::gather_numbers(group, numbered)) {
    for (size_t i = 0; i < given.size(); i += 2) {
      const bool is_new =
          all.emplace(static_cast<int64_t>(given[i]), given[i + 1]).second;
      ANNULI_CHECK(is_new, "thing {} is with two processes", given[i]);
    }
  }
  std::vector<double> values;
  for (const auto& [number, value] : all) {
    ANNULI_CHECK(number == std::ssize(values), "thing {} is with no process",
                 values.size());
    values.push_back(value);
  }
  return values;
}

void append_tensor(std::vector<double>& numbers, const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().cpu().to(at::kDouble).contiguous();
  numbers.push_back(static_cast<double>(host.dim()));
  numbers.insert(numbers.end(), host.sizes().begin(), host.sizes().end());
  const auto* first = host.const_data_ptr<double>();
  numbers.insert(numbers.end(), first, first + host.numel());
}

at::Tensor take_tensor(const double*& next) {
  std::vector<int64_t> shape(static_cast<size_t>(*next++));
  int64_t count = 1;
  for (int64_t& size : shape) {
    size = static_cast<int64_t>(*next++);
    count *= size;
  }
  const at::Tensor entries = at::tensor(at::ArrayRef<double>(next, count));
  next += count;
  return entries.view(shape);
}

std::vector<double> of_holder(parallel::ProcessGroup& group,
                              const std::vector<double>& own) {
  std::vector<double> found;
  for (const auto& given : parallel::gather_numbers(group, own)) {
    if (given.empty()) continue;
    ANNULI_CHECK(found.empty(), "two processes hold what one has");
    found = given;
  }
  return found;
}

std::vector<at::Tensor> tensors_of_holder(parallel::ProcessGroup& group,
                                          const std::vector<at::Tensor>& own) {
  std::vector<double> numbers;
  for (const at::Tensor& tensor : own) append_tensor(numbers, tensor);
  const std::vector<double> given = of_holder(group, numbers);
  std::vector<at::Tensor> tensors;
  const double* next = given.data();
  while (next != given.data() + given.size()) {
    tensors.push_back(take_tensor(next));
  }
  return tensors;
}

std::vector<std::vector<double>> numbers_of_rows(
    const Transformer& model, parallel::ProcessGroup& group, const char* doing,
    const std::function<
        std::vector<double>(size_t row, const at::Tensor& weight)>& measure) {
  const RowOwners owners(model.table(), group.size());
  const std::vector<size_t>& own_rows = owners.rows_of(group.rank());
  Progress progress(doing, std::ssize(own_rows));
  std::vector<double> own;
  for (const size_t row : own_rows) {
    const std::vector<double> found = measure(row, own_weight(model, row));
    progress.advance();
    own.push_back(static_cast<double>(found.size()));
    own.insert(own.end(), found.begin(), found.end());
  }
  const auto all = parallel::gather_numbers(group, own);
  std::vector<std::vector<double>> rows(model.table().size());
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    auto next = all[rank].begin();
    for (const size_t row : owners.rows_of(rank)) {
      const auto count = static_cast<int64_t>(*next++);
      rows[row].assign(next, next + count);
      next += count;
    }
  }
  return rows;
}

}  // namespace annuli
