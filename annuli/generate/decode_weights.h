#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "annuli/kernels/gemv.h"
#include "annuli/model/transformer.h"

// A model's weights as decoding reads them: matrices where they are, in fp32 or
// bf16; gains and biases, which are small, as fp32. Holds references to the
// tensors, so the memory stays; whoever changes a weight makes this anew.
namespace annuli::decoding {

struct Linear {
  kernels::RowMatrix matrix;
  at::Tensor weight;  // keeps the memory
  at::Tensor bias;    // fp32, undefined where there is none

  const float* bias_data() const {
    return bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  }
};

// A gain as fp32, undefined where there is no such norm.
using Gain = at::Tensor;

struct FeedForward {
  std::optional<Linear> gate;
  Linear up;
  Linear down;
};

struct LayerWeights {
  Gain input_norm, post_norm;  // before, NormPlacement::kPre
  Gain attention_out_norm, feed_forward_out_norm;  // after, kPost
  Gain q_norm, k_norm;
  Linear q, k, v, o;
  std::optional<Linear> router, shared_gate;
  std::vector<FeedForward> experts;  // the one feed-forward of a dense layer
  std::optional<FeedForward> shared;
};

struct Weights {
  at::Tensor embedding;  // [V, D], fp32 or bf16
  std::vector<LayerWeights> layers;
  Gain final_norm;
  Linear head;
};

// Whether every matrix is one that kernels::multiply reads, on CPU, of a model
// that computes in fp32.
bool readable(const Transformer& model);

// `model` must be readable.
Weights weights_of(const Transformer& model);

}  // namespace annuli::decoding
