// annuli grow against cp: how long widening a checkpoint x2 takes, measured in
// units of `cp` of the output's bytes plus a read of the input's, and how much
// anonymous memory it holds.
//
//   build/annuli_grow_bench FOLDER [GB] [ROUNDS]
//
// Makes a checkpoint of GB (2) and one twice as large in FOLDER (which needs
// 14 GB of room for each GB, and is left empty), then in each round (3), one
// after the other: cp, growth without noise, growth with 10 dB noise. Files are
// synced on both sides. Prints each round and the medians. For a quiet machine.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/core/rng.h"
#include "annuli/core/text.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/model/tensor_table.h"

namespace annuli {
namespace {

using Clock = std::chrono::steady_clock;

// A gated dense model with a large vocabulary and an embedding of its own, cut
// to the size asked for by its number of layers.
ModelConfig config_of(double gigabytes) {
  ModelConfig config;
  config.vocab_size = 50257;
  config.hidden_size = 2048;
  config.intermediate_size = 5632;
  config.num_attention_heads = 32;
  config.num_key_value_heads = 8;
  config.head_dim = 64;
  config.gated = true;
  config.hidden_act = Activation::kSilu;
  config.tie_word_embeddings = false;
  config.num_hidden_layers = 1;
  const double one = static_cast<double>(count_parameters(config).total);
  config.num_hidden_layers = 2;
  const double layer =
      static_cast<double>(count_parameters(config).total) - one;
  const double layers = (gigabytes * 1e9 / 4 - (one - layer)) / layer;
  config.num_hidden_layers =
      std::max<int64_t>(1, static_cast<int64_t>(std::round(layers)));
  return config;
}

void make_checkpoint(const fs::path& folder, double gigabytes) {
  const ModelConfig config = config_of(gigabytes);
  fs::create_directories(folder);
  std::vector<TensorEntry> entries;
  const TensorTable table = tensor_table(config);
  for (const TensorSpec& spec : table) {
    entries.push_back({.name = spec.name, .shape = spec.shape()});
  }
  SafetensorsWriter writer(folder / "model.safetensors", entries);
  for (const TensorSpec& spec : table) {
    at::Tensor tensor = kernels::owned_empty(spec.shape(), at::kFloat);
    kernels::fill_normal(tensor, CounterRng(1, spec.name), 0.02);
    writer.write(tensor);
  }
  writer.finish();
  write_json(folder / "config.json", to_json(config));
}

// Waits for a child process; returns the largest RssAnon that it had.
int64_t wait_and_watch(pid_t child) {
  int64_t peak = 0;
  int status = 0;
  const std::string path = fmt::format("/proc/{}/status", child);
  while (::waitpid(child, &status, WNOHANG) == 0) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("RssAnon:")) {
        peak = std::max<int64_t>(peak, std::stoll(line.substr(8)) * 1024);
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error("a program of the benchmark failed");
  }
  return peak;
}

int64_t run(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) {
    pointers.push_back(const_cast<char*>(word.c_str()));
  }
  pointers.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  return wait_and_watch(child);
}

void sync_files(const fs::path& folder) {
  for (const auto& item : fs::directory_iterator(folder)) {
    const int file = ::open(item.path().c_str(), O_RDONLY);
    if (file < 0 || ::fsync(file) != 0) throw std::runtime_error("fsync");
    ::close(file);
  }
  sync_folder(folder);
}

double seconds_of(const std::function<void()>& work) {
  ::sync();  // what others left to write must not be counted here
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Measured {
  std::vector<double> cp, clean, noisy;  // seconds
  int64_t clean_peak = 0;
  int64_t noisy_peak = 0;
};

int64_t grow(const fs::path& parent, const fs::path& child, const char* noise) {
  return run({ANNULI_PROGRAM, "grow", "widen", parent, "--out", child,
              "--factor", "2", "--noise-snr-db", noise, "--no-verify"});
}

void one_round(const fs::path& base, const fs::path& parent,
               Measured& measured) {
  const fs::path child = base / "child";
  const fs::path copy = base / "copy";
  measured.clean.push_back(seconds_of([&] {
    const int64_t peak = grow(parent, child, "none");
    measured.clean_peak = std::max(measured.clean_peak, peak);
  }));
  measured.cp.push_back(seconds_of([&] {
    run({"cat", parent / "model.safetensors"});
    run({"cp", "-r", child, copy});
    sync_files(copy);
  }));
  fs::remove_all(child);
  fs::remove_all(copy);
  measured.noisy.push_back(seconds_of([&] {
    const int64_t peak = grow(parent, child, "10");
    measured.noisy_peak = std::max(measured.noisy_peak, peak);
  }));
  fs::remove_all(child);
}

void measure(const fs::path& base, double gigabytes, int rounds) {
  const fs::path parent = base / "parent";
  make_checkpoint(parent, gigabytes);
  Measured measured;
  for (int i = 0; i < rounds; ++i) {
    one_round(base, parent, measured);
    fmt::print(
        "{:.1f} GB, round {}: cp {:.2f} s, growth {:.2f} s, with noise "
        "{:.2f} s\n",
        gigabytes, i + 1, measured.cp.back(), measured.clean.back(),
        measured.noisy.back());
    std::fflush(stdout);
  }
  fs::remove_all(parent);
  const double cp = median(measured.cp);
  fmt::print(
      "{:.1f} GB, medians: growth / cp {:.2f} (limit 1.5), with noise {:.2f} "
      "(limit 3); anonymous memory {}, {} (limit 400 MB)\n",
      gigabytes, median(measured.clean) / cp, median(measured.noisy) / cp,
      format_bytes(static_cast<double>(measured.clean_peak)),
      format_bytes(static_cast<double>(measured.noisy_peak)));
}

}  // namespace
}  // namespace annuli

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    fmt::print(stderr, "annuli_grow_bench FOLDER [GB] [ROUNDS]\n");
    return 2;
  }
  const double gigabytes = argc > 2 ? std::stod(argv[2]) : 2;
  const int rounds = argc > 3 ? std::stoi(argv[3]) : 3;
  const annuli::fs::path base = annuli::fs::path(argv[1]) / "grow-bench";
  try {
    for (const double size : {gigabytes, 2 * gigabytes}) {
      annuli::measure(base, size, std::max(1, rounds));
    }
    annuli::fs::remove_all(base);
  } catch (const std::exception& error) {
    annuli::fs::remove_all(base);
    fmt::print(stderr, "annuli_grow_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
