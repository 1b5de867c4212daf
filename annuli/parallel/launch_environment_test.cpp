#include "annuli/parallel/launch_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "annuli/core/error.h"

namespace annuli::parallel {
namespace {

using Set = std::map<std::string, std::string>;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

LaunchEnvironment found(const Set& set) {
  return launch_environment(
      [&](const std::string& name) -> std::optional<std::string> {
        const auto entry = set.find(name);
        if (entry == set.end()) return std::nullopt;
        return entry->second;
      });
}

std::string refusal(const Set& set) {
  try {
    found(set);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

Set with(Set set, const Set& more) {
  for (const auto& [name, value] : more) set[name] = value;
  return set;
}

Set without(Set set, const std::string& name) {
  set.erase(name);
  return set;
}

// As torchrun 2.11 sets them.
const Set kTorchrun = {{"RANK", "5"},
                       {"WORLD_SIZE", "8"},
                       {"LOCAL_RANK", "1"},
                       {"LOCAL_WORLD_SIZE", "4"},
                       {"GROUP_RANK", "1"},
                       {"MASTER_ADDR", "node7"},
                       {"MASTER_PORT", "29500"},
                       {"TORCHELASTIC_RESTART_COUNT", "2"},
                       {"TORCHELASTIC_RUN_ID", "none"},
                       {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
// As mpirun 4.1 does.
const Set kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                      {"OMPI_COMM_WORLD_SIZE", "4"},
                      {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                      {"PMIX_NAMESPACE", "1537409025"},
                      {"PMIX_SERVER_TMPDIR", "/tmp/ompi.box.0/pid.12"}};
// The second node of srun -N 2 -n 6.
const Set kSlurm = {{"SLURM_PROCID", "5"},
                    {"SLURM_NTASKS", "6"},
                    {"SLURM_LOCALID", "2"},
                    {"SLURM_NODEID", "1"},
                    {"SLURM_JOB_ID", "77"},
                    {"SLURM_STEP_ID", "0"},
                    {"SLURM_STEP_TASKS_PER_NODE", "3(x2)"}};
const Set kAddress = {{"MASTER_ADDR", "node7"}, {"MASTER_PORT", "1234"}};

TEST(LaunchEnvironment, NothingIsOneProcess) {
  const auto alone = found({});
  EXPECT_EQ(alone.launcher, "");
  EXPECT_EQ(alone.size, 1);
  EXPECT_EQ(found({{"RANK", ""}, {"WORLD_SIZE", ""}}).size, 1);
}

TEST(LaunchEnvironment, OurOwnLauncherComesFirst) {
  const Set own = {{"ANNULI_RANK", "1"},
                   {"ANNULI_PROCESSES", "2"},
                   {"ANNULI_STORE", "/tmp/x/store"}};
  const auto at = found(with(kTorchrun, own));
  EXPECT_EQ(at.rank, 1);
  EXPECT_EQ(at.size, 2);
  EXPECT_EQ(at.local_rank, 1);
  EXPECT_TRUE(at.one_host());
  EXPECT_EQ(at.store_file, "/tmp/x/store");
}

TEST(LaunchEnvironment, Torchrun) {
  const auto at = found(with(kSlurm, kTorchrun));
  EXPECT_EQ(at.launcher, "torchrun");
  EXPECT_EQ(at.rank, 5);
  EXPECT_EQ(at.size, 8);
  EXPECT_EQ(at.local_rank, 1);
  EXPECT_EQ(at.local_size, 4);
  EXPECT_FALSE(at.one_host());
  EXPECT_EQ(at.address, "node7");
  EXPECT_EQ(at.port, 29500);
  EXPECT_TRUE(at.launcher_serves);
  EXPECT_EQ(at.attempt, "2");
}

TEST(LaunchEnvironment, SetByHand) {
  const Set set = {{"RANK", "1"},
                   {"WORLD_SIZE", "2"},
                   {"MASTER_ADDR", "localhost"},
                   {"MASTER_PORT", "1234"}};
  EXPECT_TRUE(found(set).one_host());
  EXPECT_EQ(found(set).local_rank, 1);
  EXPECT_FALSE(found(set).launcher_serves);
  EXPECT_FALSE(found(with(set, {{"MASTER_ADDR", "node7"}})).one_host());
}

TEST(LaunchEnvironment, OpenMpiOnOneHostMeetsInItsOwnFolder) {
  const auto at = found(kOpenMpi);
  EXPECT_EQ(at.launcher, "Open MPI");
  EXPECT_EQ(at.rank, 3);
  EXPECT_TRUE(at.one_host());
  EXPECT_EQ(at.store_file, "/tmp/ompi.box.0/pid.12/annuli-1537409025");
  EXPECT_EQ(found(with(kOpenMpi, kAddress)).address, "node7");
  EXPECT_EQ(found(with(kOpenMpi, kAddress)).store_file, "");
}

TEST(LaunchEnvironment, SeveralHostsNeedAnAddress) {
  const Set two = with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                  {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_THAT(refusal(two),
              AllOf(HasSubstr("MASTER_ADDR"), HasSubstr("MASTER_PORT"),
                    HasSubstr("Open MPI on several hosts")));
  EXPECT_EQ(found(with(two, kAddress)).local_size, 2);
  EXPECT_THAT(refusal(kSlurm), HasSubstr("Slurm on several hosts"));
  EXPECT_THAT(
      refusal(without(without(kTorchrun, "MASTER_ADDR"), "MASTER_PORT")),
      HasSubstr("found no place where they meet"));
}

TEST(LaunchEnvironment, Slurm) {
  const auto at = found(with(kSlurm, kAddress));
  EXPECT_EQ(at.launcher, "Slurm");
  EXPECT_EQ(at.rank, 5);
  EXPECT_EQ(at.size, 6);
  EXPECT_EQ(at.local_size, 3);
  const auto one = found(with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "6"},
                                       {"SLURM_LOCALID", "5"},
                                       {"SLURM_NODEID", "0"},
                                       {"TMPDIR", "/scratch"}}));
  EXPECT_TRUE(one.one_host());
  EXPECT_THAT(one.store_file,
              AllOf(HasSubstr("/scratch/annuli-"), EndsWith("/slurm-77.0.0")));
}

TEST(LaunchEnvironment, UnequalNodesOfSlurm) {
  const auto here = [](const char* node, const char* local) {
    return found(with(with(kSlurm, kAddress),
                      {{"SLURM_STEP_TASKS_PER_NODE", "2(x2),1,1"},
                       {"SLURM_NODEID", node},
                       {"SLURM_LOCALID", local}}))
        .local_size;
  };
  EXPECT_EQ(here("1", "1"), 2);
  EXPECT_EQ(here("2", "0"), 1);
  EXPECT_EQ(here("3", "0"), 1);
}

TEST(LaunchEnvironment, ABatchScriptOfSlurmIsOneProcess) {
  const Set script = {{"SLURM_PROCID", "0"},
                      {"SLURM_NTASKS", "6"},
                      {"SLURM_LOCALID", "0"},
                      {"SLURM_JOB_ID", "77"}};
  EXPECT_EQ(found(script).size, 1);
  EXPECT_EQ(found(with(script, {{"SLURM_STEP_ID", "4294967291"}})).size, 1);
}

TEST(LaunchEnvironment, OneOfOneNeedsNoPlace) {
  EXPECT_EQ(
      found({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}})
          .size,
      1);
  EXPECT_EQ(found({{"SLURM_PROCID", "0"},
                   {"SLURM_NTASKS", "1"},
                   {"SLURM_STEP_ID", "0"}})
                .size,
            1);
  EXPECT_EQ(found({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).size, 1);
}

TEST(LaunchEnvironment, HalfSetOrWrong) {
  EXPECT_THAT(refusal({{"RANK", "0"}}),
              HasSubstr("RANK='0' without WORLD_SIZE"));
  EXPECT_THAT(refusal({{"WORLD_SIZE", "2"}}),
              HasSubstr("WORLD_SIZE='2' without RANK"));
  EXPECT_THAT(refusal(without(kTorchrun, "MASTER_PORT")),
              HasSubstr("MASTER_ADDR='node7' without MASTER_PORT"));
  EXPECT_THAT(refusal(without(kTorchrun, "MASTER_ADDR")),
              HasSubstr("MASTER_PORT='29500' without MASTER_ADDR"));
  EXPECT_THAT(refusal(with(kTorchrun, {{"RANK", "8"}})),
              AllOf(HasSubstr("RANK='8'"), HasSubstr("from 0 to 7")));
  EXPECT_THAT(refusal(with(kTorchrun, {{"RANK", "two"}})),
              HasSubstr("RANK='two'"));
  EXPECT_THAT(refusal(with(kTorchrun, {{"LOCAL_RANK", "4"}})),
              HasSubstr("LOCAL_RANK='4'"));
  EXPECT_THAT(refusal(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}})),
              HasSubstr("LOCAL_WORLD_SIZE='9'"));
  EXPECT_THAT(refusal(with(kTorchrun, {{"MASTER_PORT", "70000"}})),
              HasSubstr("MASTER_PORT='70000'"));
  EXPECT_THAT(refusal(without(kOpenMpi, "OMPI_COMM_WORLD_SIZE")),
              HasSubstr("without OMPI_COMM_WORLD_SIZE"));
  EXPECT_THAT(refusal(without(kSlurm, "SLURM_NTASKS")),
              HasSubstr("without SLURM_NTASKS"));
  EXPECT_THAT(refusal({{"ANNULI_RANK", "0"}, {"ANNULI_PROCESSES", "2"}}),
              HasSubstr("without ANNULI_STORE"));
}

}  // namespace
}  // namespace annuli::parallel
