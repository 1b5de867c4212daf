// Decoding against the read bandwidth: every token must read the chosen
// experts, all other matrices and the head once, so bandwidth over bytes is the
// most tokens per second that memory allows.
//
//   build/annuli_decode_bench [MODEL|random] [RESULTS.json] [ROUNDS]
//
// MODEL is a .pt file or a model folder; where it is not there, the seed plan's
// phase-4 shape with random weights (5 GB). In each round (20), one after the
// other: passes over 1 GiB, single-stream decoding (greedy, 16 tokens after
// 32), the same in batches of 8, and the token's matrix products alone through
// at::linear. First with fp32, then with bf16 weights, then with the layers'
// matrices as codes of 8 bits, which at::linear cannot read. Prints the fastest
// and the median step, and the share that the fastest is of what the fastest
// pass over memory allows: both last about 50 ms, so both find the machine as
// still.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/generate/stored_model.h"
#include "annuli/kernels/threads.h"
#include "benchmarks/bench_program.h"
#include "benchmarks/decode/measures.h"

namespace annuli::bench {
namespace {

constexpr int64_t kSteps = 16;  // per round
constexpr int64_t kPasses = 4;
constexpr int64_t kBatch = 8;

// What was done per second, each time.
class Series {
 public:
  // `amount` in each of these times.
  bool empty() const { return rates_.empty(); }
  void add(double amount, const std::vector<double>& seconds) {
    for (const double time : seconds) rates_.push_back(amount / time);
  }
  double best() const { return *std::ranges::max_element(rates_); }
  double median() const {
    std::vector<double> sorted = rates_;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
  Json json() const { return {{"best", best()}, {"median", median()}}; }

 private:
  std::vector<double> rates_;
};

// Bytes per second of the passes over memory, tokens per second of the rest.
struct Rates {
  Series bandwidth, single, batch, linear;
};

Rates measure(const Transformer& model, const ReadBandwidth& memory,
              int64_t rounds) {
  Decoding single(model, 1);
  Decoding batch(model, kBatch);
  LinearProducts linear(model);
  Rates rates;
  for (int64_t round = 0; round < rounds; ++round) {
    for (int64_t pass = 0; pass < kPasses; ++pass) {
      rates.bandwidth.add(static_cast<double>(memory.bytes()),
                          {memory.seconds_per_pass()});
    }
    rates.single.add(1, single.seconds(kSteps));
    for (int64_t pass = 0; pass < kPasses && !model.numbers().coded; ++pass) {
      rates.linear.add(1, {linear.seconds_per_token()});
    }
    rates.batch.add(kBatch, batch.seconds(kSteps / 4));
  }
  return rates;
}

void print_line(const char* name, const Series& tokens, double allowed) {
  fmt::print("  {:<34} {:8.1f} {:8.1f} {:7.1f} %\n", name, tokens.best(),
             tokens.median(), 100 * tokens.best() / allowed);
}

Json report(const char* dtype, const Rates& rates, int64_t bytes) {
  const double allowed = rates.bandwidth.best() / static_cast<double>(bytes);
  fmt::print(
      "{}: {:.1f} MB per token at {:.1f} GB/s (median {:.1f}) allow "
      "{:.1f} tokens/s\n  {:<34} {:>8} {:>8} {:>9}\n",
      dtype, static_cast<double>(bytes) / 1e6, rates.bandwidth.best() / 1e9,
      rates.bandwidth.median() / 1e9, allowed, "tokens/s", "best", "median",
      "share");
  print_line("one text", rates.single, allowed);
  print_line("8 texts together", rates.batch, allowed);
  Json json = {{"bytes_per_token", bytes},
               {"bandwidth", rates.bandwidth.json()},
               {"tokens_per_second_allowed", allowed},
               {"single", rates.single.json()},
               {"share_of_bandwidth", rates.single.best() / allowed},
               {"batch_8", rates.batch.json()}};
  if (rates.linear.empty()) return json;
  print_line("its products through at::linear", rates.linear, allowed);
  json["products_by_at_linear"] = rates.linear.json();
  return json;
}

void run(const std::string& path, const std::string& results, int64_t rounds) {
  const bool stored = fs::exists(path);
  fmt::print("{}\n",
             stored ? path : "the seed's phase-4 shape, random weights");
  Transformer model =
      stored ? load_stored_model(ModelFile(path),
                                 {.dtype = at::kFloat, .in_memory = true})
             : random_model(at::kFloat);
  const int64_t parameters = parameters_per_token(model);
  fmt::print("{:.1f} M parameters read per token, {} threads\n",
             static_cast<double>(parameters) / 1e6, kernels::num_threads());
  const ReadBandwidth memory;
  Json json = {{"model", stored ? path : "random phase-4 shape"},
               {"parameters_per_token", parameters},
               {"threads", kernels::num_threads()}};
  json["f32"] = report("f32", measure(model, memory, rounds), 4 * parameters);
  Transformer narrow = narrowed(model);
  json["bf16"] = report("bf16", measure(narrow, memory, rounds),
                        narrow_bytes_per_token(narrow));
  const Transformer codes = coded(narrow);
  json["int8-weights"] = report("int8-weights", measure(codes, memory, rounds),
                                narrow_bytes_per_token(codes));
  if (!results.empty()) write_json(results, json);
}

}  // namespace
}  // namespace annuli::bench

int main(int argc, char** argv) {
  return annuli::bench::bench_program("annuli_decode_bench", [&] {
    annuli::bench::run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "",
                       argc > 3 ? std::stoll(argv[3]) : 20);
  });
}
