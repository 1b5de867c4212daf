#include "tests/faults/scenes.h"

#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/faults/judge.h"

namespace annuli::faults {
namespace {

// Small shards, so that a folder has several and an index.
std::vector<std::string> operation_of(size_t index) {
  static const std::array<std::vector<std::string>, Scenes::kOperators> all = {
      {{"widen", "--noise-snr-db", "10", "--max-shard-size", "100kB"},
       {"upcycle", "--num-experts", "4"},
       {"deepen", "--preset", "stack", "--add-layers", "2"}}};
  return all.at(index);
}

}  // namespace

Scenes::Scenes(std::string plan, fs::path root)
    : plan_(std::move(plan)), root_(std::move(root)) {}

const Training& Scenes::training() {
  if (!training_) {
    training_ = std::make_unique<Training>("training", plan_, 1, root_);
  }
  return *training_;
}

const Training& Scenes::quick() {
  if (!quick_) {
    quick_ = std::make_unique<Training>("quick", "plans/quick.yaml", 4, root_);
  }
  return *quick_;
}

const fs::path& Scenes::parent() {
  if (!parent_.empty()) return parent_;
  const fs::path model =
      training().reference() / "run/checkpoints/dense_model.pt";
  Script script(root_ / "parent-of-growth");
  const fs::path folder = script.folder() / "parent";
  const std::string wrong = not_done(
      "exporting a parent",
      script.run({"export", model.string(), "--out", folder.string()}));
  if (!wrong.empty()) throw std::runtime_error(wrong);
  return parent_ = folder;
}

const Growth& Scenes::growth(size_t operation) {
  std::unique_ptr<Growth>& made = growth_.at(operation);
  if (!made) {
    made = std::make_unique<Growth>(operation_of(operation), parent(), root_);
  }
  return *made;
}

}  // namespace annuli::faults
