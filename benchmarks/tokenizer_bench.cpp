// Encoding speed, one thread: the same text again and again with a warm word
// cache, and with a tokenizer made anew each time (the cache starts empty).
//
// tokenizer_bench TOKENIZER TEXT... [--benchmark_...]
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {
namespace {

void report_bytes(benchmark::State& state, const std::string& text) {
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(text.size()));
}

void encode_warm(benchmark::State& state, const std::string& name,
                 const std::string& text) {
  const auto tokenizer = load_tokenizer(name);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode(text));
  report_bytes(state, text);
}

void encode_cold(benchmark::State& state, const std::string& name,
                 const std::string& text) {
  for (auto _ : state) {
    state.PauseTiming();
    const auto tokenizer = load_tokenizer(name);
    state.ResumeTiming();
    benchmark::DoNotOptimize(tokenizer->encode(text));
  }
  report_bytes(state, text);
}

void run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc < 3) user_error("tokenizer_bench: expected TOKENIZER TEXT...");
  const std::string name = argv[1];
  std::string text;
  for (int i = 2; i < argc; ++i) text += read_file(argv[i]);
  benchmark::RegisterBenchmark("encode/warm", encode_warm, name, text);
  benchmark::RegisterBenchmark("encode/cold", encode_cold, name, text);
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace
}  // namespace annuli

int main(int argc, char** argv) {
  try {
    annuli::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
