#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/faults/script.h"

// What the program is doing when a fault comes, and what it would have made.
namespace annuli::faults {

class Scenario {
 public:
  virtual ~Scenario() = default;

  // What the tally calls it: "training", "growth".
  virtual std::string name() const = 0;

  // Puts what the program reads into the case's folder.
  virtual void prepare(const Script& script) const = 0;

  // The arguments for the next start in this folder, whatever the starts
  // before left there.
  virtual std::vector<std::string> arguments(const Script& script) const = 0;

  // The next start, without a fault. Says what is then not as it would have
  // been without one, or was not before; "" if all is.
  virtual std::string finish(Script& script) const = 0;
  // The same after a fault that may change the last digits of what is trained.
  virtual std::string finish_but_digits(Script& script) const {
    return finish(script);
  }

  // How many calls of these kinds (fault.h) an undisturbed start makes.
  long calls(const std::string& kinds) const;

  // What an undisturbed start leaves.
  const fs::path& reference() const { return reference_; }

 protected:
  // The undisturbed start; throws if it fails.
  void make_reference(Script& script);

 private:
  fs::path reference_;
  std::map<std::string, long> counts_;
};

// `annuli run PLAN --resume`, with a state after every `save_steps` steps.
class Training : public Scenario {
 public:
  Training(std::string name, std::string plan, int save_steps,
           const fs::path& root);

  std::string name() const override { return name_; }
  void prepare(const Script&) const override {}
  std::vector<std::string> arguments(const Script& script) const override;
  std::string finish(Script& script) const override;
  std::string finish_but_digits(Script& script) const override;

  // The same with more arguments for the last start.
  std::string finish(Script& script,
                     const std::vector<std::string>& more) const;
  // The comparison alone: history, lineage, and the bytes of the checkpoints.
  std::string difference(const fs::path& run) const;

 private:
  using Judge = std::function<std::string(const fs::path& run)>;
  std::string finish_by(Script& script, const std::vector<std::string>& last,
                        const Judge& judge) const;

  std::string name_;
  std::string plan_;
  std::string save_steps_;
};

// `annuli grow`: the output is absent or whole, the parent is untouched.
class Growth : public Scenario {
 public:
  // `parent` is a model folder.
  Growth(std::vector<std::string> operation, fs::path parent,
         const fs::path& root);

  std::string name() const override { return "growth"; }
  void prepare(const Script& script) const override;
  std::vector<std::string> arguments(const Script& script) const override;
  std::string finish(Script& script) const override;

 private:
  std::vector<std::string> operation_;
  fs::path parent_;
};

}  // namespace annuli::faults
