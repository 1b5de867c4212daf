#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "annuli/core/file_lock.h"
#include "annuli/core/input_paths.h"
#include "annuli/core/manifest.h"
#include "annuli/parallel/solo.h"

// The folder of one run and the names in it.
//
// State: the path, what a run has written in it (its manifest, or what the
// records of an earlier version's run say), and a lock (flock on `.lock`) held
// as long as the object lives, so that two runs never write one folder.
//
// Guarantees: nothing that somebody else put there is removed or written over.
// Whatever would need that is refused before the first write.
//
// Of several processes the first one looks after the folder; to the others it
// is a path and names.
namespace annuli::run {

namespace fs = std::filesystem;

enum class Claim { kAdd, kReplace };

class RunFolder {
 public:
  // Makes the folder if it is missing. `names` is what a run will write there,
  // paths below it. Throws UserError if the folder can't be written, another
  // run holds it, or
  // - a file of those names, or, where no run was, anything in checkpoints/,
  //   verify/, samples/ or state/ is somebody else's;
  // - with kReplace: anything at all in those four is, or an input lies in what
  //   would be removed; with kAdd: an input would be written over.
  RunFolder(fs::path root, std::set<std::string> names,
            const InputPaths& inputs, Claim claim,
            const parallel::ProcessGroup& group = parallel::solo());
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const fs::path& root() const { return root_; }
  fs::path plan() const { return root_ / "plan.yaml"; }
  fs::path history() const { return root_ / "training_history.jsonl"; }
  fs::path sessions() const { return root_ / "sessions.jsonl"; }
  fs::path lineage() const { return root_ / "lineage.json"; }
  fs::path summary() const { return root_ / "summary.json"; }
  fs::path state() const { return root_ / "state"; }
  fs::path checkpoint(const std::string& name) const {
    return root_ / "checkpoints" / name;
  }
  fs::path verdicts(const std::string& phase) const {
    return root_ / "verify" / (phase + ".json");
  }
  fs::path samples(const std::string& phase) const {
    return root_ / "samples" / (phase + ".txt");
  }

  // Whether a run has left something there.
  bool is_begun() const;

  // Removes what killed runs left half-written.
  void remove_leftovers();

  // True on the process that writes here.
  bool is_writer() const { return is_writer_; }

  // Before the first write of a run: notes the names as ours; with kReplace
  // first removes what the run before wrote, and nothing else.
  void claim();

 private:
  bool is_ours(const std::string& path) const;
  void refuse_foreign() const;
  void keep(const InputPaths& inputs) const;
  void make_folders() const;
  void lock();
  void clear();

  fs::path root_;
  std::set<std::string> names_;
  Claim claim_;
  bool is_writer_;
  Manifest manifest_;
  std::optional<FileLock> lock_;
};

}  // namespace annuli::run
