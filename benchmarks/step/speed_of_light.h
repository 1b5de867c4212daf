#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "annuli/config/model_config.h"
#include "benchmarks/step/gemm_routes.h"

// The speed of light of a training step: its matrix products and nothing else.
//
// Counted: forward, input gradient and weight gradient of every projection of
// attention and feed-forward, of each expert with the rows that it really got,
// and of the head, all in their unpadded shapes, by the fastest route, with
// weights and inputs of their own in memory. Not counted: attention's scores
// and values (softmax(q k^T) v), router, norms, activations, casts, loss,
// optimizer. The head is cut into chunks of tokens by the size that is fastest
// here. oneDNN's compiling of new shapes is done before the timed run.
namespace annuli::bench {

// [L][E] rows of each expert; empty for a dense model.
using ExpertRows = std::vector<std::vector<int64_t>>;

struct Light {
  double seconds = 0;
  double flops = 0;  // two for each multiply-add
};

class SpeedOfLight {
 public:
  SpeedOfLight(const ModelConfig& config, int64_t tokens, at::ScalarType dtype);

  // One replay. `rows` sum to k * tokens in each layer.
  Light replay(const ExpertRows& rows);

  at::ScalarType dtype() const { return dtype_; }

  // k * tokens shared out evenly, what a replay takes where nothing is known.
  ExpertRows even_rows() const;

 private:
  // A linear layer: what it reads, by the index of `inputs_`.
  struct Site {
    at::Tensor weight;  // [out, in]
    size_t input = 0;
    int64_t layer = 0;
    int64_t expert = -1;
  };

  void add_sites();
  size_t input_of(int64_t rows, int64_t width);
  Operands operands(const Site& site, const ExpertRows& rows);
  Operands chunk(int64_t begin, int64_t rows);
  void choose_chunk();
  void run_head();
  template <typename F>
  void for_each_site(const ExpertRows& rows, const F& f);

  ModelConfig config_;
  int64_t tokens_;
  at::ScalarType dtype_;
  GemmRoutes routes_;
  std::vector<at::Tensor> inputs_;
  std::vector<Site> sites_;  // in forward order
  at::Tensor gradients_;     // what every output gradient is cut from
  at::Tensor head_;          // [V, D]
  at::Tensor hidden_;        // [N, D]
  int64_t chunk_ = 0;        // tokens
};

// The light of a step whose products have operands of type `dtype`. Numbers of
// bf16 can be multiplied as fp32 too, with the same result: on processors where
// that is faster it is done so here, and what widens them is not counted.
std::unique_ptr<SpeedOfLight> fastest_light(const ModelConfig& config,
                                            int64_t tokens,
                                            at::ScalarType dtype);

}  // namespace annuli::bench
