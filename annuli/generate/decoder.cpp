#include "annuli/generate/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "annuli/core/error.h"

namespace annuli {
namespace {

// Up to about this many tokens the own step is faster than the matrix library
// (docs/log.md).
constexpr size_t kShortPrompt = 128;

at::Tensor to_tokens(std::span<const int32_t> ids, at::Device device) {
  at::Tensor tokens =
      at::empty({1, static_cast<int64_t>(ids.size())}, at::kLong);
  std::ranges::copy(ids, tokens.mutable_data_ptr<int64_t>());
  return tokens.to(device);
}

}  // namespace

Decoder::Decoder(const Transformer& model) : model_(model) {
  if (decoding::readable(model)) {
    fast_ = std::make_unique<decoding::DecodeStep>(model);
  }
}

void Decoder::read(KvCache& cache, std::span<const int32_t> ids) {
  if (ids.empty()) return;
  const at::NoGradGuard no_grad;
  if (fast_ != nullptr && ids.size() <= kShortPrompt) {
    std::vector<decoding::Row> rows;
    for (const int32_t id : ids) rows.push_back({&cache, id});
    return fast_->read(rows);
  }
  ForwardOptions options;
  options.cache = &cache;
  model_.hidden_states(to_tokens(ids, model_.device()), options);
}

at::Tensor Decoder::step(std::span<KvCache* const> caches,
                         std::span<const int32_t> ids) {
  ANNULI_CHECK(caches.size() == ids.size() && !ids.empty(),
               "{} caches for {} tokens", caches.size(), ids.size());
  const at::NoGradGuard no_grad;
  if (fast_ != nullptr) {
    std::vector<decoding::Row> rows;
    for (size_t i = 0; i < ids.size(); ++i) rows.push_back({caches[i], ids[i]});
    return fast_->logits(rows);
  }
  std::vector<at::Tensor> logits;
  for (size_t i = 0; i < ids.size(); ++i) {
    ForwardOptions options;
    options.cache = caches[i];
    logits.push_back(
        model_.logits(to_tokens(ids.subspan(i, 1), model_.device()), options)
            .view({1, -1}));
  }
  return at::cat(logits);
}

}  // namespace annuli
