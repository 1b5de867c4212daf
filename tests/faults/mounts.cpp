#include "tests/faults/mounts.h"

#include <fmt/core.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "tests/faults/judge.h"

namespace annuli::faults {
namespace {

constexpr uint64_t kBlock = 4096;

void require(int result, const std::string& doing) {
  if (result != 0) {
    throw std::runtime_error(doing + ": " + std::strerror(errno));
  }
}

std::string size_option(uint64_t bytes) {
  return fmt::format("size={}", bytes);
}

// A small file system over a folder, as long as the object lives.
class SmallDisk {
 public:
  SmallDisk(Script& script, uint64_t bytes) : folder_(script.folder()) {
    require(::mount("none", folder_.c_str(), "tmpfs", 0,
                    size_option(bytes).c_str()),
            "mounting");
    script.note(fmt::format("mount -t tmpfs -o size={} none {}", bytes,
                            folder_.string()));
    fs::create_directory(folder_ / "tmp");
    script.note("mkdir " + (folder_ / "tmp").string());
  }
  ~SmallDisk() { ::umount2(folder_.c_str(), MNT_DETACH); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  void give_room(Script& script) {
    require(::mount("none", folder_.c_str(), "tmpfs", MS_REMOUNT, "size=1g"),
            "remounting");
    script.note("mount -o remount,size=1g " + folder_.string());
  }

 private:
  fs::path folder_;
};

// Without them a user who is not root may not remount. The two families of
// constants have the same values.
unsigned long kept_flags(const char* path) {
  struct statvfs status {};
  require(::statvfs(path, &status), "looking at the mount");
  return status.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC);
}

// A folder that can't be written, as long as the object lives.
class ReadOnly {
 public:
  explicit ReadOnly(Script& script) : folder_(script.folder()) {
    const char* path = folder_.c_str();
    require(::mount(path, path, nullptr, MS_BIND, nullptr), "mounting");
    require(
        ::mount("none", path, nullptr,
                MS_REMOUNT | MS_BIND | MS_RDONLY | kept_flags(path), nullptr),
        "remounting");
    script.note(
        fmt::format("mount --bind {0} {0}; mount -o remount,ro,bind "
                    "{0}",
                    folder_.string()));
  }
  ~ReadOnly() { ::umount2(folder_.c_str(), MNT_DETACH); }
  ReadOnly(const ReadOnly&) = delete;
  ReadOnly& operator=(const ReadOnly&) = delete;

 private:
  fs::path folder_;
};

// What the files take on a disk, each in whole blocks.
uint64_t blocks_below(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    if (item.is_regular_file()) {
      bytes += (item.file_size() + kBlock - 1) / kBlock * kBlock;
    }
  }
  return bytes;
}

void write_text(const char* path, const std::string& text) {
  std::ofstream(path) << text;
}

}  // namespace

std::string enter_own_mounts() {
  const uid_t user = ::getuid();
  const gid_t group = ::getgid();
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return strerror(errno);
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", fmt::format("0 {} 1", user));
    write_text("/proc/self/gid_map", fmt::format("0 {} 1", group));
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return strerror(errno);
  }
  return "";
}

Result fill_small_disk(const Scenario& scenario, Script& script,
                       const CounterRng& rng) {
  const uint64_t before = blocks_below(script.folder());
  const uint64_t after = blocks_below(scenario.reference());
  // Not 0, which means no limit.
  SmallDisk disk(script, before + kBlock + rng.below(0, after - before));
  scenario.prepare(script);
  const Outcome outcome = script.run(scenario.arguments(script));
  disk.give_room(script);
  Result result{.injected = outcome.status != 0, .lost = bad_ending(outcome)};
  if (result.lost.empty()) result.lost = scenario.finish(script);
  return result;
}

Result mount_read_only(const Scenario& scenario, Script& script,
                       const CounterRng& rng) {
  const auto calls = static_cast<uint64_t>(scenario.calls("all"));
  const Outcome killed = script.run(
      scenario.arguments(script),
      script.fault(fmt::format("all:{}:kill-after", 1 + rng.below(0, calls))));
  Result result{.injected = 1, .lost = bad_ending(killed, true)};
  {
    const ReadOnly read_only(script);
    const Outcome refused = script.run(scenario.arguments(script));
    if (result.lost.empty()) result.lost = bad_ending(refused);
    if (result.lost.empty() && refused.status != 2) {
      result.lost = fmt::format("status {} in a folder that can't be written",
                                refused.status);
    }
  }
  if (result.lost.empty()) result.lost = scenario.finish(script);
  return result;
}

}  // namespace annuli::faults
