#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

// What started this process, and where it meets the others: read off the
// environment's variables, in this order.
//
//   our own launcher   ANNULI_RANK, ANNULI_PROCESSES, ANNULI_STORE,
//                      ANNULI_CORES_DIVIDED
//   torchrun, or by    RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; LOCAL_RANK,
//   hand               LOCAL_WORLD_SIZE; TORCHELASTIC_USE_AGENT_STORE
//   Open MPI           OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
//   Slurm's srun       SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID
//
// The first whose rank and number are there counts; a launcher inside another
// one's allocation (torchrun under srun) is so the one that is meant. A batch
// script of Slurm has Slurm's variables too, but no step of its own: it is one
// process.
//
// torchrun says where all meet. Under Open MPI and Slurm it is MASTER_ADDR and
// MASTER_PORT; without them and with all processes on one host, a file that
// all of them can name.
namespace annuli::parallel {

struct LaunchEnvironment {
  std::string launcher;  // "torchrun"; "" for a process by itself
  int64_t rank = 0;
  int64_t size = 1;
  int64_t local_rank = 0;  // among those of this host
  int64_t local_size = 1;
  bool cores_divided = false;  // those of this host, by our launcher

  // A file of this host; or an address, where rank 0 serves unless the launcher
  // does.
  std::string store_file;
  std::string address;
  uint16_t port = 0;
  bool launcher_serves = false;
  // Set apart what earlier attempts left there.
  std::string attempt = "0";

  bool one_host() const { return local_size == size; }
};

using Variables =
    std::function<std::optional<std::string>(const std::string& name)>;

// UserError: variables that are there by half, that are no numbers or that
// contradict each other; no place to meet. A variable that is empty is not set.
LaunchEnvironment launch_environment(const Variables& variables);

// That of this process.
LaunchEnvironment launch_environment();

}  // namespace annuli::parallel
