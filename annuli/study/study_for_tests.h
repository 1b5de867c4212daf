#pragma once

#include <string>

// A study of two arms on a model of bytes, small enough to be run in a test.
namespace annuli::study {

inline std::string small_study(const std::string& text = "x.txt",
                               const std::string& output_dir = "runs/small") {
  return R"(
name: small
output_dir: )" +
         output_dir + R"(
flops: 4.0e+8
points: [0.5, 1]
seeds: [1, 2]
targets: [7.5]
baseline: scratch
plan:
  precision: fp64
  threads: 1
  tokenizer: bytes
  save_steps: 10
  logging_steps: 1000
  measure_steps: 0
  data: {text: [)" +
         text + R"(], sequence_length: 16, validation_fraction: 0.2,
         cache_dir: )" +
         output_dir + R"(-tokens}
  model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 4,
          num_attention_heads: 2}
  schedule: {warmup: 5%, decay: 20%}
  evaluation: {windows: 4}
  probe: {windows: 2, length: 16, router_tokens: 32}
  phases:
    - {name: large, train: {share: 1, learning_rate: 1e-3, batch_size: 4}}
arms:
  - {name: scratch, about: all layers from the first step, rates: [1e-3, 1e-2]}
  - name: stack
    about: two layers, then four
    rate_of: scratch
    plan:
      model: {num_hidden_layers: 2}
      phases:
        - {name: small, train: {share: 0.25, learning_rate: 1e-3, batch_size: 4}}
        - name: large
          grow: {deepen: {preset: stack, add_layers: 2}}
          train: {share: 0.75, learning_rate: 5e-4, batch_size: 4}
quick:
  flops: 2.0e+8
  seeds: [1]
)";
}

}  // namespace annuli::study
