#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "annuli/generate/decoder.h"
#include "annuli/model/transformer.h"

// What the decoding benchmark times. Each object is made once and run in turn
// with the others.
namespace annuli::bench {

// Parameters that a token must read: all matrices, of the experts the chosen
// ones; of an untied embedding one row. Gains and biases are as good as free,
// and counted.
int64_t parameters_per_token(const Transformer& model);

// Bytes of the same in a model whose weights are bf16, or codes with theirs.
int64_t narrow_bytes_per_token(const Transformer& model);

// The phase-4 model of the seed plan, with random weights.
Transformer random_model(at::ScalarType stored);

// The same model with its matrices as bf16; and that one's with the layers' as
// codes of 8 bits. Take the weights out of `model` one by one, so that both
// need not fit in memory.
Transformer narrowed(Transformer& model);
Transformer coded(Transformer& model);

// Sums 1 GiB with all threads: the read bandwidth.
class ReadBandwidth {
 public:
  ReadBandwidth();
  double seconds_per_pass() const;
  int64_t bytes() const;

 private:
  at::Tensor memory_;
};

// `sequences` texts side by side, greedily continued.
class Decoding {
 public:
  Decoding(const Transformer& model, int64_t sequences);
  // The seconds of each of so many steps after the prompts.
  std::vector<double> seconds(int64_t steps);

 private:
  Decoder decoder_;
  std::vector<KvCache> caches_;
  std::vector<int32_t> last_;
};

// The matrix products of a token alone, one row each, by at::linear: what any
// program on LibTorch needs at least.
class LinearProducts {
 public:
  explicit LinearProducts(const Transformer& model);
  double seconds_per_token();

 private:
  const Transformer& model_;
  int64_t token_ = 0;
};

}  // namespace annuli::bench
