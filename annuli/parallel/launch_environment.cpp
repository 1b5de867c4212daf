#include "annuli/parallel/launch_environment.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string_view>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli::parallel {
namespace {

// A launcher's variables. Where a name is empty there is none.
struct Names {
  const char* launcher;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
};

constexpr Names kOwn = {"annuli run --processes", "ANNULI_RANK",
                        "ANNULI_PROCESSES", "ANNULI_RANK", "ANNULI_PROCESSES"};
constexpr Names kTorchrun = {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK",
                             "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi = {
    "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kSlurm = {"Slurm", "SLURM_PROCID", "SLURM_NTASKS",
                          "SLURM_LOCALID", ""};

class Reader {
 public:
  explicit Reader(const Variables& variables) : variables_(variables) {}

  std::optional<std::string> text(const std::string& name) const {
    if (name.empty()) return std::nullopt;
    auto value = variables_(name);
    if (value && value->empty()) return std::nullopt;
    return value;
  }

  std::optional<int64_t> number(const std::string& name, int64_t least,
                                int64_t most) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    int64_t number = 0;
    const char* end = value->data() + value->size();
    const auto read = std::from_chars(value->data(), end, number);
    if (read.ec == std::errc{} && read.ptr == end && least <= number &&
        number <= most) {
      return number;
    }
    user_error(
        "reading what started this process: found {}={}, expected a "
        "number from {} to {}",
        name, quote(*value), least, most);
  }

  // One of two that are only there together.
  [[noreturn]] void half(const char* there, const char* missing) const {
    user_error(
        "reading what started this process: found {}={} without {}, expected "
        "both; set {}, or take {} off for a single process",
        there, quote(*text(there)), missing, missing, there);
  }

 private:
  const Variables& variables_;
};

constexpr int64_t kMostProcesses = 1 << 20;

// Nothing if its variables are not there.
std::optional<LaunchEnvironment> started_by(const Names& names,
                                            const Reader& reader) {
  const auto size = reader.number(names.size, 1, kMostProcesses);
  const auto rank =
      reader.number(names.rank, 0, size.value_or(kMostProcesses) - 1);
  if (!rank && !size) return std::nullopt;
  if (!size) reader.half(names.rank, names.size);
  if (!rank) reader.half(names.size, names.rank);
  LaunchEnvironment found = {
      .launcher = names.launcher, .rank = *rank, .size = *size};
  const auto local_size = reader.number(names.local_size, 1, *size);
  found.local_rank =
      reader.number(names.local_rank, 0, local_size.value_or(*size) - 1)
          .value_or(0);
  found.local_size = local_size.value_or(found.local_rank + 1);
  return found;
}

void meet_at_address(LaunchEnvironment& found, const Reader& reader) {
  const auto port =
      reader.number("MASTER_PORT", 1, std::numeric_limits<uint16_t>::max());
  const auto address = reader.text("MASTER_ADDR");
  if (address && !port) reader.half("MASTER_ADDR", "MASTER_PORT");
  if (port && !address) reader.half("MASTER_PORT", "MASTER_ADDR");
  if (!address) return;
  found.address = *address;
  found.port = static_cast<uint16_t>(*port);
}

[[noreturn]] void no_place(const LaunchEnvironment& found) {
  user_error(
      "joining {} processes started by {}{}: found no place where they meet; "
      "set MASTER_ADDR to the host of rank 0 and MASTER_PORT to a free port "
      "there, the same for all processes",
      found.size, found.launcher, found.one_host() ? "" : " on several hosts");
}

// A folder that only this user can write, for files of this host.
std::string private_folder(const Reader& reader) {
  return fmt::format("{}/annuli-{}", reader.text("TMPDIR").value_or("/tmp"),
                     ::getuid());
}

LaunchEnvironment torchrun(LaunchEnvironment found, const Reader& reader) {
  meet_at_address(found, reader);
  if (found.size > 1 && found.address.empty()) no_place(found);
  const bool by_torchrun = reader.text("TORCHELASTIC_RUN_ID").has_value();
  if (!by_torchrun) found.launcher = "RANK and WORLD_SIZE";
  const auto serves = reader.text("TORCHELASTIC_USE_AGENT_STORE");
  found.launcher_serves = serves == "True" || serves == "1";
  found.attempt = reader.text("TORCHELASTIC_RESTART_COUNT").value_or("0");
  // Set by hand: all on one host if they meet at its own address.
  const bool local = found.address == "localhost" ||
                     found.address.starts_with("127.") ||
                     found.address == "::1";
  if (!reader.text("LOCAL_WORLD_SIZE") && local) {
    found.local_size = found.size;
    if (!reader.text("LOCAL_RANK")) found.local_rank = found.rank;
  }
  return found;
}

// mpirun makes a private folder for each of its runs and removes it at its end.
LaunchEnvironment open_mpi(LaunchEnvironment found, const Reader& reader) {
  meet_at_address(found, reader);
  if (found.size == 1 || !found.address.empty()) return found;
  const auto folder = reader.text("PMIX_SERVER_TMPDIR");
  const auto job = reader.text("PMIX_NAMESPACE");
  if (!found.one_host() || !folder || !job) no_place(found);
  found.store_file = fmt::format(
      "{}/annuli-{}", *folder, std::filesystem::path(*job).filename().string());
  return found;
}

// "2(x3),1": how many tasks each node has; those of `node`, or 0.
int64_t tasks_of_node(std::string_view text, int64_t node) {
  const auto number = [](std::string_view digits) {
    int64_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  };
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const size_t times = entry.find("(x");
    node -=
        times == std::string_view::npos ? 1 : number(entry.substr(times + 2));
    if (node < 0) return number(entry.substr(0, times));
  }
  return 0;
}

LaunchEnvironment slurm(LaunchEnvironment found, const Reader& reader) {
  const int64_t node =
      reader.number("SLURM_NODEID", 0, kMostProcesses).value_or(0);
  auto tasks = reader.text("SLURM_STEP_TASKS_PER_NODE");
  if (!tasks) tasks = reader.text("SLURM_TASKS_PER_NODE");
  const int64_t here = tasks_of_node(tasks.value_or(""), node);
  if (here > found.local_rank && here <= found.size) found.local_size = here;
  meet_at_address(found, reader);
  if (found.size == 1 || !found.address.empty()) return found;
  const auto job = reader.text("SLURM_JOB_ID");
  if (!found.one_host() || !job) no_place(found);
  found.store_file =
      fmt::format("{}/slurm-{}.{}.{}", private_folder(reader), *job,
                  reader.text("SLURM_STEP_ID").value_or("0"),
                  reader.text("SLURM_RESTART_COUNT").value_or("0"));
  return found;
}

// The numbers of a job's batch script and of an interactive shell are at the
// end of 32 bits: there srun has started nothing.
bool in_slurm_step(const Reader& reader) {
  constexpr int64_t kFirstReserved = 0xfffffff0;
  const auto step =
      reader.number("SLURM_STEP_ID", 0, std::numeric_limits<int64_t>::max());
  return step && *step < kFirstReserved;
}

}  // namespace

LaunchEnvironment launch_environment(const Variables& variables) {
  const Reader reader(variables);
  if (auto found = started_by(kOwn, reader)) {
    const auto file = reader.text("ANNULI_STORE");
    if (!file) reader.half("ANNULI_RANK", "ANNULI_STORE");
    found->store_file = *file;
    found->cores_divided = reader.text("ANNULI_CORES_DIVIDED") == "1";
    return *found;
  }
  if (const auto found = started_by(kTorchrun, reader)) {
    return torchrun(*found, reader);
  }
  if (const auto found = started_by(kOpenMpi, reader)) {
    return open_mpi(*found, reader);
  }
  if (in_slurm_step(reader)) {
    if (const auto found = started_by(kSlurm, reader)) {
      return slurm(*found, reader);
    }
  }
  return {};
}

LaunchEnvironment launch_environment() {
  return launch_environment(
      [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) return std::nullopt;
        return value;
      });
}

}  // namespace annuli::parallel
