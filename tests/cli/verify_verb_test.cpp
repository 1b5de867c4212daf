// annuli verify on what the tiny run grew, whole and broken.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "annuli/checkpoint/model_file.h"
#include "annuli/model/tensor_table.h"
#include "program.h"
#include "tiny_run.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class Verify : public ::testing::Test {
 protected:
  Outcome verify(const std::string& parent, const std::string& child,
                 const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {
        "verify", parent, child, "--windows", "2", "--length", "32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, scratch_.path());
  }

  void expect_proved(const char* parent, const char* child, const char* op) {
    const Outcome outcome =
        verify(tiny_checkpoint(parent), tiny_checkpoint(child),
               {"--text", "tests/data/village", "--tokenizer", "bytes"});
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_THAT(outcome.out, HasSubstr(op));
    EXPECT_THAT(outcome.out, HasSubstr("from the child's lineage"));
    EXPECT_THAT(outcome.out, HasSubstr("functional_identity"));
    EXPECT_THAT(outcome.out, ::testing::Not(HasSubstr("FAIL")));
  }

  // A copy of a checkpoint without its lineage, changed by `change`.
  template <typename Change>
  std::string changed_copy(const char* checkpoint, Change change) {
    Transformer model = load_model(tiny_checkpoint(checkpoint));
    change(model);
    const std::string path = scratch_.file("changed.pt");
    save_pt(model, path);
    return path;
  }

  ScratchFolder scratch_;
};

TEST_F(Verify, ProvesUpcycling) {
  expect_proved("dense_model.pt", "moe_init.pt", "upcycle");
}

TEST_F(Verify, ProvesWideningWithNoise) {
  expect_proved("moe_model_final.pt", "medium_init.pt", "widen");
}

TEST_F(Verify, ProvesDeepening) {
  expect_proved("medium_moe_final.pt", "large_init.pt", "deepen");
}

TEST_F(Verify, InfersTheGrowthOfModelsWithoutALineage) {
  const std::string child = changed_copy("medium_init.pt", [](Transformer&) {});
  const Outcome outcome = verify(tiny_checkpoint("moe_model_final.pt"), child);
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("inferred"));
  EXPECT_THAT(outcome.out, HasSubstr("the program's own text"));
}

TEST_F(Verify, RefutesAChildWithOneChangedTensorAndNamesIt) {
  const char* tensor = "model.layers.1.self_attn.v_proj.weight";
  const std::string child =
      changed_copy("medium_init.pt", [&](Transformer& model) {
        const auto row = static_cast<size_t>(find_row(model.table(), tensor));
        model.set_weight(row, model.weight(row) * 1.01);
      });
  const Outcome outcome = verify(tiny_checkpoint("moe_model_final.pt"), child);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr(tensor));
  EXPECT_THAT(outcome.err, HasSubstr("layer 1"));
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1);
}

TEST_F(Verify, RefutesATrainedChildAndSaysThatItWasTrained) {
  const Outcome outcome = verify(tiny_checkpoint("moe_model_final.pt"),
                                 tiny_checkpoint("medium_moe_final.pt"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.out, HasSubstr("was trained after it was grown"));
}

TEST_F(Verify, AllowTurnsFailuresIntoWarnings) {
  std::vector<std::string> allow;
  for (const char* check : {"tensor_audit", "functional_identity",
                            "rope_integrity", "router_logit_scale"}) {
    allow.insert(allow.end(), {"--allow", check});
  }
  const std::string parent = tiny_checkpoint("moe_model_final.pt");
  const std::string child = tiny_checkpoint("medium_moe_final.pt");
  const Outcome without_one = verify(parent, child, allow);
  EXPECT_EQ(without_one.status, 1);
  EXPECT_THAT(without_one.err, HasSubstr("boundary_record failed"));

  allow.insert(allow.end(), {"--allow", "boundary_record"});
  const Outcome outcome = verify(parent, child, allow);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("FAIL (allowed)"));
}

TEST_F(Verify, WritesTheVerdictsAsJsonAlsoWhenOneFails) {
  const std::string report = scratch_.file("verdicts.json");
  verify(tiny_checkpoint("moe_model_final.pt"),
         tiny_checkpoint("medium_moe_final.pt"), {"--json", report});
  const json verdicts = read_json(report).at("verdicts");
  const auto passed = [](const json& v) { return v.at("passed") == true; };
  EXPECT_GT(verdicts.size(), 3u);
  EXPECT_FALSE(std::ranges::all_of(verdicts, passed));
}

TEST_F(Verify, ProvesInDoubleArithmeticToo) {
  const Outcome outcome =
      verify(tiny_checkpoint("medium_moe_final.pt"),
             tiny_checkpoint("large_init.pt"), {"--dtype", "f64"});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
}

}  // namespace
}  // namespace annuli::test
