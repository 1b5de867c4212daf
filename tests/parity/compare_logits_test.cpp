// tools/reference/compare_logits.py on files as the program writes them.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/folder_for_tests.h"
#include "tests/parity/model_case.h"

namespace annuli::parity {
namespace {

class CompareLogits : public testing::TestWithParam<std::string> {
 protected:
  CompareLogits() { save_pt(model_, folder_ / "model.pt"); }

  int compare(const at::Tensor& logits) const {
    write_safetensors(folder_ / "logits.safetensors",
                      {{"tokens", tokens_}, {"logits", logits}});
    const std::string command =
        std::string("'" ANNULI_PYTHON "' '" ANNULI_COMPARE_LOGITS "' '") +
        (folder_ / "model.pt").string() + "' '" +
        (folder_ / "logits.safetensors").string() + "'";
    const int status =
        std::system(command.c_str());  // NOLINT(bugprone-command-processor)
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  const ModelCase case_{GetParam()};
  const Transformer model_ = case_.model();
  const at::Tensor tokens_ = case_.batch().copy("tokens");
  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

TEST_P(CompareLogits, AcceptsOurs) {
  EXPECT_EQ(compare(model_.logits(tokens_)), 0);
}

using CompareOtherLogits = CompareLogits;

TEST_P(CompareOtherLogits, RefusesThem) {
  at::Tensor logits = model_.logits(tokens_);
  logits[1][7] *= 1.001;  // of one token of 66: 1.2e-4 of the norm
  EXPECT_EQ(compare(logits), 1);
}

TEST_P(CompareOtherLogits, RefusesAnotherShape) {
  const at::Tensor logits = model_.logits(tokens_);
  EXPECT_EQ(compare(logits.narrow(2, 0, 300).contiguous()), 2);
}

INSTANTIATE_TEST_SUITE_P(Cases, CompareLogits,
                         testing::Values("arcee_tied", "annuli_moe"),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Cases, CompareOtherLogits, testing::Values("mixtral"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace annuli::parity
