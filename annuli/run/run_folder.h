#pragma once

#include <filesystem>
#include <string>

// The folder of one run and the names in it.
//
// State: the path and a lock (flock on `.lock`) held as long as the object
// lives, so that two runs never write one folder.
namespace annuli::run {

namespace fs = std::filesystem;

class RunFolder {
 public:
  // Makes the folder if it is missing. Throws UserError if it can't be written
  // or another run holds it.
  explicit RunFolder(fs::path root);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const fs::path& root() const { return root_; }
  fs::path plan() const { return root_ / "plan.yaml"; }
  fs::path history() const { return root_ / "training_history.jsonl"; }
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

  // Removes what killed runs left half-written.
  void remove_leftovers();

  // Removes what a run wrote here (the names above and nothing else).
  void clear();

 private:
  fs::path root_;
  int lock_ = -1;
};

}  // namespace annuli::run
