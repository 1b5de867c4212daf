#include <ATen/Context.h>
#include <dlfcn.h>
#include <fmt/core.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/env_words.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/core/machine.h"
#include "annuli/core/text.h"
#include "annuli/kernels/threads.h"
#include "annuli/run/program_commit.h"

namespace annuli::cli {
namespace {

Json cpu(const Machine& machine) {
  return {{"model", machine.processor},
          {"hardware_threads", machine.hardware_threads},
          {"avx2", machine.avx2},
          {"avx512f", machine.avx512f},
          {"avx512_bf16", machine.avx512_bf16},
          {"amx_bf16", machine.amx_bf16}};
}

std::string file_of(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "";
  return info.dli_fname;
}

// True if the function that MKL will find is the program's own and says yes.
bool mkl_dispatch_is_ours() {
  using Answer = int (*)();
  const auto found =
      reinterpret_cast<Answer>(dlsym(RTLD_DEFAULT, "mkl_serv_intel_cpu_true"));
  if (found == nullptr || found() == 0) return false;
  return file_of(reinterpret_cast<const void*>(found)) !=
         file_of(reinterpret_cast<const void*>(&at::globalContext));
}

fs::path cache_folder() {
  if (const char* cache = std::getenv("ANNULI_CACHE")) return cache;
  const char* home = std::getenv("HOME");
  return home == nullptr ? fs::path() : fs::path(home) / ".cache" / "annuli";
}

Json folder_json(const fs::path& path) {
  std::error_code ignored;
  return {{"path", path.string()}, {"exists", fs::exists(path, ignored)}};
}

Json environment() {
  const Json versions = program_versions();
  const Machine machine = this_machine();
  return {
      {"annuli", versions.at("annuli")},
      {"commit", run::program_commit()},
      {"torch", versions.at("torch")},
      {"torch_library",
       file_of(reinterpret_cast<const void*>(&at::globalContext))},
      {"threads", kernels::num_threads()},
      {"threads_in_use", kernels::threads_in_use()},
      {"cpu", cpu(machine)},
      {"memory_bytes", machine.memory_bytes},
      {"memory_available_bytes", available_memory_bytes()},
      {"mkl_dispatch", mkl_dispatch_is_ours()},
      {"cuda", at::hasCUDA()},
      {"nvidia_driver", fs::exists("/proc/driver/nvidia/version")},
      {"cache", folder_json(cache_folder())},
      {"token_files", folder_json(fs::absolute("build/data/tokens"))},
  };
}

const char* yes_no(const Json& value) {
  return value.get<bool>() ? "yes" : "no";
}

std::string folder_text(const Json& folder) {
  return folder.at("path").get<std::string>() +
         (folder.at("exists").get<bool>() ? "" : " (not made yet)");
}

void print_environment(const Json& env) {
  const Json& cpu = env.at("cpu");
  const auto line = [](const char* name, const std::string& value) {
    fmt::print("{:<14} {}\n", name, value);
  };
  const auto commit = env.at("commit").get<std::string>();
  line("annuli", env.at("annuli").get<std::string>() +
                     (commit.empty() ? "" : ", commit " + commit));
  line("torch", env.at("torch").get<std::string>() + "  " +
                    env.at("torch_library").get<std::string>());
  line("threads", fmt::format("{} of {} ({} take part in a loop)",
                              env.at("threads").get<int64_t>(),
                              cpu.at("hardware_threads").get<int64_t>(),
                              env.at("threads_in_use").get<int64_t>()));
  line("cpu", cpu.at("model"));
  line("",
       fmt::format("avx2 {}, avx512f {}, avx512_bf16 {}, amx_bf16 {}",
                   yes_no(cpu.at("avx2")), yes_no(cpu.at("avx512f")),
                   yes_no(cpu.at("avx512_bf16")), yes_no(cpu.at("amx_bf16"))));
  line("memory",
       format_bytes(env.at("memory_bytes").get<double>()) + ", " +
           format_bytes(env.at("memory_available_bytes").get<double>()) +
           " available");
  line("mkl dispatch",
       mkl_dispatch_words(env.at("mkl_dispatch"), cpu.at("avx512f")));
  line("cuda", env.at("cuda").get<bool>() ? "yes"
               : env.at("nvidia_driver").get<bool>()
                   ? "no (a driver is there, this LibTorch has no CUDA)"
                   : "no");
  line("cache", folder_text(env.at("cache")));
  line("token files", folder_text(env.at("token_files")));
}

}  // namespace

void add_env_command(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "env", "Describe the program and its machine, for a bug report");
  command->add_flag("--json", *json, "Print it as JSON");
  command->footer("Example:\n  annuli env --json");
  command->callback([json] {
    const Json env = environment();
    if (*json) {
      fmt::print("{}\n", pretty(env));
    } else {
      print_environment(env);
    }
  });
}

}  // namespace annuli::cli
