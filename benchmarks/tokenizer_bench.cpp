// Encoding speed, one thread: the same documents again and again with a warm
// word cache, and with a tokenizer made anew each time (the cache starts
// empty).
//
// tokenizer_bench TOKENIZER TEXT... [--benchmark_...]
//
// On stderr a hash of all ids, without those that begin and end documents.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli {
namespace {

using Texts = std::vector<std::string>;

void report_bytes(benchmark::State& state, const Texts& texts) {
  size_t size = 0;
  for (const std::string& text : texts) size += text.size();
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(size));
}

void encode(const Tokenizer& tokenizer, const Texts& texts) {
  for (const std::string& text : texts) {
    benchmark::DoNotOptimize(tokenizer.encode(text, {.allow_special = false}));
  }
}

// FNV-1a, an id at a time.
uint64_t hash_of_ids(const Tokenizer& tokenizer, const Texts& texts) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::string& text : texts) {
    for (const int32_t id : tokenizer.encode(text, {.allow_special = false})) {
      hash = (hash ^ static_cast<uint32_t>(id)) * 0x100000001b3;
    }
  }
  return hash;
}

void encode_warm(benchmark::State& state, const std::string& name,
                 const Texts& texts) {
  const auto tokenizer = load_tokenizer(name);
  for (auto _ : state) encode(*tokenizer, texts);
  report_bytes(state, texts);
}

void encode_cold(benchmark::State& state, const std::string& name,
                 const Texts& texts) {
  for (auto _ : state) {
    state.PauseTiming();
    const auto tokenizer = load_tokenizer(name);
    state.ResumeTiming();
    encode(*tokenizer, texts);
  }
  report_bytes(state, texts);
}

void run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc < 3) user_error("tokenizer_bench: expected TOKENIZER TEXT...");
  const std::string name = argv[1];
  Texts texts;
  for (int i = 2; i < argc; ++i) texts.push_back(read_file(argv[i]));
  std::fprintf(stderr, "ids %016llx\n",
               static_cast<unsigned long long>(
                   hash_of_ids(*load_tokenizer(name), texts)));
  benchmark::RegisterBenchmark("encode/warm", encode_warm, name, texts);
  benchmark::RegisterBenchmark("encode/cold", encode_cold, name, texts);
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
