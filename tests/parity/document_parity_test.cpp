// Attention within documents against transformers, which is given positions and
// a mask, in every family; and ten steps of training with it
// (model_reference.py).
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "tests/parity/model_case.h"

namespace annuli::parity {
namespace {

// As without documents (model_parity_test.cpp): the products are the same.
constexpr double kLogitsLimit = 1e-5;
constexpr double kGradientLimit = 2e-5;
constexpr double kTrainingLimit = 5e-6;

class DocumentParity : public testing::TestWithParam<std::string> {
 protected:
  at::Tensor tokens() const { return case_.steps().tensor("tokens"); }
  at::Tensor targets() const { return case_.steps().tensor("targets"); }
  at::Tensor documents() const { return case_.documents().tensor("documents"); }

  double logits_error(const at::Tensor& documents) const {
    ForwardOptions options;
    options.documents = documents;
    return relative_error(case_.model().logits(tokens()[0], options),
                          case_.documents().tensor("logits"));
  }

  // Largest relative difference of ten losses from PyTorch's.
  double training_error(const at::Tensor& documents) const {
    Transformer model = case_.model();
    const std::vector<double> losses =
        train(model, tokens(), targets(), case_.loss_options(), case_.adamw(),
              documents);
    const at::Tensor expected = case_.documents().tensor("losses");
    EXPECT_EQ(static_cast<int64_t>(losses.size()), expected.size(0));
    double worst = 0;
    for (int64_t i = 0; i < std::ssize(losses); ++i) {
      const double loss = expected[i].item<double>();
      worst = std::max(worst, std::abs(losses[i] - loss) / loss);
    }
    return worst;
  }

  void record(const char* name, double error) const {
    RecordProperty(name, fmt::format("{:.2e}", error));
  }

  const ModelCase case_{GetParam()};
};

// One border a token further on: of the first document that begins inside.
at::Tensor shifted_border(const at::Tensor& documents) {
  at::Tensor moved = documents.clone();
  const int64_t T = documents.size(-1);
  at::Tensor row = moved.view({-1, T})[0];
  int64_t* first = row.mutable_data_ptr<int64_t>();
  const int64_t begin =
      *std::find_if(first, first + T, [](int64_t at) { return at > 0; });
  first[begin] = begin - 1 >= 0 ? first[begin - 1] : 0;
  for (int64_t t = begin + 1; t < T && first[t] == begin; ++t) {
    first[t] = begin + 1;
  }
  return moved;
}

TEST_P(DocumentParity, Logits) {
  const double error = logits_error(documents()[0]);
  EXPECT_LE(error, kLogitsLimit);
  record("error", error);
  // The controls: without the mask, and with a border that is off by one.
  EXPECT_GT(logits_error({}), 100 * kLogitsLimit);
  EXPECT_GT(logits_error(shifted_border(documents()[0])), 100 * kLogitsLimit);
}

TEST_P(DocumentParity, EveryGradient) {
  const SafetensorsFile expected = case_.document_gradients();
  Transformer model = case_.model();
  LossOptions options = case_.loss_options();
  double worst = 0;
  for (const bool checkpointed : {false, true}) {
    options.documents = documents()[0];
    options.gradient_checkpointing = checkpointed;
    const auto [loss, gradients] =
        loss_and_gradients(model, tokens()[0], targets()[0], options);
    for (size_t row = 0; row < model.table().size(); ++row) {
      const std::string& name = model.table()[row].name;
      const double error =
          relative_error(gradients[row], expected.tensor(name));
      EXPECT_LE(error, kGradientLimit) << name;
      worst = std::max(worst, error);
    }
  }
  record("worst_gradient", worst);
}

class DocumentTraining : public DocumentParity {};

TEST_P(DocumentTraining, TenAdamwSteps) {
  const double error = training_error(documents());
  EXPECT_LE(error, kTrainingLimit);
  record("error", error);
  EXPECT_GT(training_error({}), 20 * kTrainingLimit);
  EXPECT_GT(training_error(shifted_border(documents())), 2 * kTrainingLimit);
}

const auto kCases =
    testing::Values("llama", "llama_tied", "arcee", "qwen2", "qwen3", "olmo2",
                    "granite", "mixtral", "qwen2_moe", "annuli_moe", "gpt_neox",
                    "gpt_neox_serial", "annuli_moe_neox");
const auto kName = [](const auto& info) { return info.param; };

INSTANTIATE_TEST_SUITE_P(Families, DocumentParity, kCases, kName);
// Those of TrainingParity.
INSTANTIATE_TEST_SUITE_P(Cases, DocumentTraining,
                         testing::Values("llama", "llama_tied", "arcee",
                                         "qwen3", "mixtral", "annuli_moe"),
                         kName);

}  // namespace
}  // namespace annuli::parity
