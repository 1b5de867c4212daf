#include "annuli/budget/size_ops.h"

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"
#include "annuli/kernels/product.h"
#include "annuli/model/forward.h"

namespace annuli::budget {
namespace {

SizeOps::Value tensor(int64_t columns, int64_t rows_per_token = 1) {
  return std::make_shared<SizedTensor>(
      SizedTensor{.columns = columns, .rows_per_token = rows_per_token});
}

SizeOps::Value like(const SizeOps::Value& x) {
  return tensor(x->columns, x->rows_per_token);
}

}  // namespace

SizeOps::SizeOps(const ModelConfig& config, const NumberTypes& numbers,
                 int64_t rows, int64_t length, bool gradient_checkpointing)
    : config_(config),
      numbers_(numbers),
      table_(tensor_table(config)),
      size_(config, table_, numbers, rows),
      index_(table_),
      length_(length),
      gradient_checkpointing_(gradient_checkpointing) {}

int64_t SizeOps::bytes(const Value& x) const {
  return size_.wide(x->columns, x->rows_per_token);
}

void SizeOps::keep(const Value& x) {
  if (!x->is_kept) kept_ += bytes(x);
  x->is_kept = true;
}

void SizeOps::keep_rows(const Value& x) {
  if (!size_.narrow()) return keep(x);
  if (!x->is_kept_narrowed) {
    kept_ += size_.kept_rows(x->columns, x->rows_per_token);
  }
  x->is_kept_narrowed = true;
}

const TensorSpec& SizeOps::spec(Part part, int64_t layer,
                                int64_t expert) const {
  const int64_t row = index_.row(part, layer, expert);
  ANNULI_CHECK(row >= 0, "the model has no {}", to_string(part));
  return table_[row];
}

SizeOps::Value SizeOps::through(Part matrix, int64_t layer, int64_t expert,
                                double share) {
  const TensorSpec& found = spec(matrix, layer, expert);
  work_.blocks += static_cast<double>(found.numel()) * share;
  return tensor(found.dimensions[0].size());
}

SizeOps::Value SizeOps::embed(Tokens /*tokens*/) {
  return tensor(config_.hidden_size);
}

// A checkpointed block keeps its input alone.
SizeOps::Value SizeOps::run_block(const Value& x, int64_t layer) {
  const int64_t before = kept_;
  const Value y = Forward(config_, *this).block(x, layer);
  kept_of_block_ = kept_ - before;
  if (gradient_checkpointing_) kept_ = before + bytes(x);
  return y;
}

SizeOps::Value SizeOps::norm(const Value& x, NormParts /*parts*/,
                             int64_t /*layer*/, Reader /*reader*/) {
  keep(x);
  return like(x);
}

SizeOps::Value SizeOps::project(const Value& x, LinearParts linear,
                                int64_t layer) {
  keep_rows(x);
  return through(linear.matrix, layer);
}

SizeOps::Value SizeOps::score(const Value& x, Part matrix, int64_t layer) {
  keep(x);
  return through(matrix, layer);
}

std::array<SizeOps::Value, 3> SizeOps::project_all(
    const Value& x, const std::array<LinearParts, 3>& parts, int64_t layer) {
  keep_rows(x);
  std::array<Value, 3> outputs;
  for (size_t i = 0; i < parts.size(); ++i) {
    outputs[i] = through(parts[i].matrix, layer);
  }
  return outputs;
}

// Attention makes them contiguous, each a tensor of its own.
std::array<SizeOps::Value, 3> SizeOps::split_heads(const Value& x) const {
  const int64_t columns = x->columns / 3;
  return {tensor(columns), tensor(columns), tensor(columns)};
}

// Scores and their mix are half a square: a token sees length / 2 others.
SizeOps::Value SizeOps::attend(const Value& q, const Value& k, const Value& v,
                               int64_t /*layer*/) {
  for (const Value& read : {q, k, v}) keep(read);
  const Value mixed = like(q);
  if (kernels::attention_keeps_result()) keep(mixed);
  widest_ = std::max(widest_, 3 * bytes(q) + 3 * bytes(k));
  work_.attention += 2.0 * static_cast<double>(length_ * q->columns);
  return mixed;
}

SizeOps::Value SizeOps::add(const Value& x, const Value& /*y*/) const {
  return like(x);
}

SizeOps::Value SizeOps::scale(const Value& x, double /*factor*/) const {
  return like(x);
}

void SizeOps::count_products(const FeedForwardParts& parts, int64_t layer,
                             int64_t expert, double share) {
  if (parts.gate) through(parts.gate->matrix, layer, expert, share);
  through(parts.up.matrix, layer, expert, share);
  through(parts.down.matrix, layer, expert, share);
}

int64_t SizeOps::inner_width(const FeedForwardParts& parts, int64_t layer,
                             int64_t expert) const {
  return spec(parts.up.matrix, layer, expert).dimensions[0].size();
}

void SizeOps::keep_inner(const FeedForwardParts& parts, int64_t layer,
                         int64_t expert, int64_t rows_per_token) {
  const int64_t width = inner_width(parts, layer, expert);
  branches_ = parts.gate ? 2 : 1;
  for (int64_t i = 0; i < branches_; ++i) {
    keep_rows(tensor(width, rows_per_token));
  }
}

SizeOps::Value SizeOps::feed_forward(const Value& x,
                                     const FeedForwardParts& parts,
                                     int64_t layer) {
  keep_rows(x);
  keep_inner(parts, layer, -1, 1);
  count_products(parts, layer, -1, 1);
  const int64_t width = inner_width(parts, layer, -1);
  inner_entries_ = size_.rows() * width;
  widest_ = std::max(widest_, (branches_ + 1) * size_.wide(width));
  return like(x);
}

// Scores, probabilities and gates are as wide as there are experts.
SizeOps::Routing SizeOps::route(const Value& /*rows*/, const Value& scores,
                                int64_t /*layer*/) {
  for (const Value& read : {scores, like(scores), like(scores)}) keep(read);
  return {};
}

// What the experts read and gave, sorted; without a graph, one expert's share
// of the inner entries at a time.
ExpertOutputs<SizeOps::Value> SizeOps::experts(const Value& rows,
                                               Routing /*routing*/,
                                               const FeedForwardParts& parts,
                                               int64_t layer, bool shared) {
  const int64_t E = config_.num_experts;
  const int64_t k = config_.num_experts_per_tok;
  const Value sorted = tensor(rows->columns, k);
  keep_rows(sorted);
  keep(like(sorted));
  keep_inner(parts, layer, 0, k);
  const double share = static_cast<double>(k) / static_cast<double>(E);
  for (int64_t e = 0; e < E; ++e) count_products(parts, layer, e, share);
  const int64_t width = inner_width(parts, layer, 0);
  inner_entries_ = size_.rows() * k * width / E;
  widest_ = std::max(
      widest_, (branches_ + 1) * size_.wide(width, k) / E + 3 * bytes(sorted));
  ExpertOutputs<Value> outputs{.chosen = like(rows)};
  if (shared) {
    keep_rows(rows);
    keep_inner(parts, layer, kSharedExpert, 1);
    count_products(parts, layer, kSharedExpert, 1);
    outputs.shared = like(rows);
  }
  return outputs;
}

// Counted with the shared expert (add_gated): beside one it is common, and
// alone one tensor of the stream is little beside a mixture's.
SizeOps::Value SizeOps::weigh(const Value& y, Routing /*routing*/) {
  return like(y);
}

SizeOps::Value SizeOps::add_gated(const Value& y, const Value& x,
                                  const Value& /*gate*/) {
  keep(x);
  keep(y);
  return like(y);
}

// A block of logits, their gradients as operands, what is multiplied of the
// table and of the rows, and the rows' gradient.
SizeOps::Value SizeOps::cross_entropy(const Value& rows, Part part,
                                      Tokens /*targets*/) {
  const TensorSpec& table = spec(part, -1, -1);
  work_.head += static_cast<double>(table.numel());
  const int64_t block = std::min(kHeadRows, size_.rows()) * config_.vocab_size;
  head_ = tensor_bytes(block, numbers_.arithmetic) + bytes(rows);
  if (size_.narrow()) {
    head_ += kernels::bf16_is_fast()
                 ? size_.factor(block)
                 : size_.factor(size_.rows() * rows->columns);
    head_ += size_.weight_factor(table.numel());
  }
  return tensor(1);
}

}  // namespace annuli::budget
