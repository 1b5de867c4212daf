// How the state of each optimizer follows a growth step: 8-bit codes, bf16,
// Adafactor's factors, momentum; in memory and through files.
#include <ATen/TensorOperators.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/test_files.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/stream_state.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/quantize/block_quantization.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using kernels::Codes;
using test::random_tensor;
using test::relative_error;
using test::same_bits;

enum class Form { kNumbers, kBf16, kCodes, kFactors, kMomentum };

TensorState state_of(const TensorSpec& spec, Form form) {
  const at::Tensor m =
      random_tensor(spec.shape(), "m." + spec.name, at::kFloat);
  const at::Tensor v =
      random_tensor(spec.shape(), "v." + spec.name, at::kFloat).square();
  TensorState state{.step = 7};
  if (form == Form::kFactors && spec.is_matrix()) {
    state.v_rows = v.mean(1);
    state.v_columns = v.mean(0);
  } else if (form == Form::kFactors) {
    state.v = v;
  } else if (form == Form::kMomentum) {
    state.m = m;
  } else if (form == Form::kBf16) {
    state.m = m.to(at::kBFloat16);
    state.v = v.to(at::kBFloat16);
  } else if (form == Form::kCodes && spec.is_matrix()) {
    auto first = kernels::quantize(m, Codes::kSigned);
    auto second = kernels::quantize(v, Codes::kUnsigned);
    state.m = first.codes;
    state.m_scales = first.scales;
    state.v = second.codes;
    state.v_scales = second.scales;
  } else {
    state.m = m;
    state.v = v;
  }
  return state;
}

std::vector<TensorState> states_of(const ModelConfig& config, Form form) {
  std::vector<TensorState> states;
  for (const TensorSpec& spec : tensor_table(config)) {
    states.push_back(state_of(spec, form));
  }
  return states;
}

// What the state says the moments are, in fp64.
at::Tensor first_moment(const TensorState& state) {
  if (!state.m.defined()) return {};
  return (state.m_scales.defined()
              ? kernels::dequantize(state.m, state.m_scales, Codes::kSigned)
              : state.m)
      .to(at::kDouble);
}

at::Tensor second_moment(const TensorState& state) {
  if (state.v_rows.defined()) {
    const at::Tensor rows = state.v_rows.to(at::kDouble);
    return at::outer(rows / rows.mean(), state.v_columns.to(at::kDouble));
  }
  if (!state.v.defined()) return {};
  return (state.v_scales.defined()
              ? kernels::dequantize(state.v, state.v_scales, Codes::kUnsigned)
              : state.v)
      .to(at::kDouble);
}

// A parent whose rows are whole blocks of codes where `aligned`.
ModelConfig parent_config(bool aligned) {
  ModelConfig config = tiny::config({.tied = false});
  config.num_hidden_layers = 2;
  if (aligned) {
    config.hidden_size = 256;
    config.intermediate_size = 256;
    config.num_attention_heads = config.num_key_value_heads = 4;
    config.head_dim = 64;
  }
  return config;
}

// The largest relative error of the child's moments against its recipe applied
// to what the parent's state says they are.
double error_of(const Recipe& recipe, const std::vector<TensorState>& parent,
                const std::vector<TensorState>& child) {
  const TensorTable table = tensor_table(recipe.parent);
  double worst = 0;
  for (size_t row = 0; row < child.size(); ++row) {
    const TensorRecipe& tensor = recipe.tensors[row];
    if (!tensor.carry_state || tensor.source != Source::kParent) {
      EXPECT_EQ(child[row].step, 0);
      EXPECT_FALSE(child[row].m.defined() || child[row].v.defined() ||
                   child[row].v_rows.defined());
      continue;
    }
    const TensorState& from = parent.at(find_row(table, tensor.parent));
    EXPECT_EQ(child[row].step, from.step);
    const auto compare = [&](const at::Tensor& was, const at::Tensor& is,
                             int power) {
      ASSERT_EQ(was.defined(), is.defined()) << tensor.child;
      if (!was.defined()) return;
      const at::Tensor expected =
          apply(moment_recipe(tensor, power), was, 0, at::kDouble);
      worst = std::max(worst, relative_error(is, expected));
    };
    compare(first_moment(from), first_moment(child[row]), 1);
    compare(second_moment(from), second_moment(child[row]), 2);
  }
  return worst;
}

double growth_error(const Recipe& recipe, Form form) {
  const auto parent = states_of(recipe.parent, form);
  return error_of(recipe, parent, grow_state(recipe, std::vector(parent), {}));
}

Recipe widened(const ModelConfig& parent, double factor) {
  return Widen({factor, 10, WidenHead::kUntie}).recipe(parent, 3);
}

std::string name_of(const testing::TestParamInfo<Form>& info) {
  constexpr const char* kNames[] = {"Numbers", "Bf16", "Codes", "Factors",
                                    "Momentum"};
  return kNames[static_cast<size_t>(info.param)];
}

class StateForms : public testing::TestWithParam<Form> {};
INSTANTIATE_TEST_SUITE_P(Forms, StateForms,
                         testing::Values(Form::kNumbers, Form::kBf16,
                                         Form::kCodes, Form::kFactors,
                                         Form::kMomentum),
                         name_of);

// Widening by 2 scales by powers of two, and blocks of codes stay whole:
// nothing is rounded but Adafactor's product of factors, in fp64 here and in
// fp32 there.
TEST_P(StateForms, AreCarriedExactlyByWideningByTwo) {
  EXPECT_LE(growth_error(widened(parent_config(true), 2), GetParam()), 1e-6);
}

TEST_P(StateForms, UpcyclingKeepsWhatIsNotAnExpert) {
  EXPECT_LE(
      growth_error(Upcycle({}).recipe(parent_config(true), 3), GetParam()),
      1e-6);
}

// By 3: each form rounds as it is stored. Codes are cut into other blocks too,
// 0.7 % of the scale of a block. The controls are exact above.
TEST_P(StateForms, AreCarriedToTheirPrecisionByWideningByThree) {
  const double error =
      growth_error(widened(parent_config(false), 3), GetParam());
  switch (GetParam()) {
    case Form::kBf16:
      EXPECT_LE(error, 0x1p-8);
      break;
    case Form::kCodes:
      EXPECT_LE(error, 0.9 / 128 * 1.01);
      EXPECT_GE(error, 1e-4) << "other blocks must show";
      break;
    default:
      EXPECT_LE(error, 1e-6);
  }
}

// Not all entries have as many copies: a factor's mean changes.
TEST_P(StateForms, AreCarriedWhereCopiesAreUneven) {
  WidenOptions options{.noise_snr_db = std::nullopt, .head = WidenHead::kUntie};
  options.hidden = 36;
  const Recipe recipe = Widen(options).recipe(parent_config(false), 3);
  const double error = growth_error(recipe, GetParam());
  EXPECT_LE(error, GetParam() == Form::kCodes  ? 0.9 / 128 * 1.01
                   : GetParam() == Form::kBf16 ? 0x1p-8
                                               : 1e-6);
}

TEST_P(StateForms, ResetForgetsThem) {
  const Recipe recipe = widened(parent_config(false), 2);
  for (const TensorState& state :
       grow_state(recipe, states_of(recipe.parent, GetParam()),
                  {.optimizer = OptimizerState::kReset})) {
    EXPECT_EQ(state.step, 0);
    visit_parts(state, [](const char*, const at::Tensor& part) {
      EXPECT_FALSE(part.defined());
    });
  }
}

// The parent's tensors are let go one by one.
TEST_P(StateForms, ConsumeTheParent) {
  const Recipe recipe = widened(parent_config(false), 2);
  auto parent = states_of(recipe.parent, GetParam());
  grow_state(recipe, std::move(parent), {});
  for (const TensorState& state : parent) {  // NOLINT(bugprone-use-after-move)
    visit_parts(state, [](const char*, const at::Tensor& part) {
      EXPECT_FALSE(part.defined());
    });
  }
}

std::string bytes_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "none";
  const at::Tensor whole = tensor.contiguous();
  return fmt::format("{} ", c10::toString(whole.scalar_type())) +
         std::string(static_cast<const char*>(whole.const_data_ptr()),
                     whole.nbytes());
}

// Each process has its part before and after, bit for bit that of one.
TEST_P(StateForms, AreGrownInPartsAsByOneProcess) {
  ModelConfig config = parent_config(false);
  ModelConfig tied = config;
  tied.tie_word_embeddings = true;
  for (const Recipe& recipe :
       {widened(config, 2), Upcycle({}).recipe(config, 5),
        Deepen({DeepenPreset::kStack, 2}).recipe(config, 5),
        Untie({}).recipe(tied, 5)}) {
    StateGrowth growth = {.dynamics = Dynamics::kExact};
    const auto alone =
        grow_state(recipe, states_of(recipe.parent, GetParam()), growth);
    for (const int64_t processes : {2, 4}) {
      test::run_together(processes, [&](parallel::ProcessGroup& group) {
        const RowOwners before(tensor_table(recipe.parent), processes);
        const RowOwners after(tensor_table(recipe.child), processes);
        auto parent = states_of(recipe.parent, GetParam());
        for (size_t row = 0; row < parent.size(); ++row) {
          if (before.owns(group.rank(), row)) continue;
          optim::release_parts(parent[row]);
        }
        const StateOwners owners{before, after, group};
        StateGrowth shared = growth;
        shared.owners = &owners;
        const auto child = grow_state(recipe, std::move(parent), shared);
        ASSERT_EQ(child.size(), alone.size());
        for (size_t row = 0; row < child.size(); ++row) {
          const std::string& name = recipe.tensors[row].child;
          EXPECT_EQ(child[row].step, alone[row].step) << name;
          EXPECT_EQ(child[row].lr_multiplier, alone[row].lr_multiplier);
          EXPECT_EQ(child[row].eps_multiplier, alone[row].eps_multiplier);
          EXPECT_EQ(child[row].row_copies, alone[row].row_copies);
          std::vector<std::string> found, wanted;
          visit_parts(child[row], [&](const char*, const at::Tensor& part) {
            found.push_back(bytes_of(part));
          });
          visit_parts(alone[row], [&](const char*, const at::Tensor& part) {
            wanted.push_back(after.owns(group.rank(), row) ? bytes_of(part)
                                                           : "none");
          });
          EXPECT_TRUE(found == wanted) << name << " on " << group.rank();
        }
      });
    }
  }
}

// Through files as in memory, bit for bit.
TEST_P(StateForms, AreStreamedAsTheyAreGrown) {
  for (const double factor : {2.0, 3.0}) {
    const Recipe recipe = widened(parent_config(false), factor);
    auto parent = states_of(recipe.parent, GetParam());
    const test::TestFolder base;
    fs::create_directories(base / "parent");
    fs::create_directories(base / "child");
    std::vector<NamedTensor> tensors;
    OptimizerRows rows;
    const TensorTable table = tensor_table(recipe.parent);
    for (size_t row = 0; row < table.size(); ++row) {
      rows[table[row].name] = {.step = parent[row].step};
      visit_parts(parent[row], [&](const char* part, const at::Tensor& value) {
        if (!value.defined()) return;
        tensors.push_back({fmt::format("{}.{}", part, table[row].name), value});
      });
    }
    write_safetensors(base / "parent" / kOptimizerTensors, tensors);
    write_optimizer_rows(base / "parent", rows, "of this test");
    stream_state(recipe, *OptimizerFile::open(base / "parent"), {},
                 base / "child");

    const auto file = OptimizerFile::open(base / "child");
    EXPECT_EQ(file->optimizer(), "of this test");
    const auto grown = grow_state(recipe, std::move(parent), {});
    size_t compared = 0;
    for (size_t row = 0; row < grown.size(); ++row) {
      const std::string& name = recipe.tensors[row].child;
      EXPECT_EQ(file->rows().at(name).step, grown[row].step);
      visit_parts(grown[row], [&](const char* part, const at::Tensor& value) {
        const at::Tensor read = file->part(part, name);
        ASSERT_EQ(read.defined(), value.defined()) << part << " of " << name;
        if (!read.defined()) return;
        EXPECT_TRUE(same_bits(read, value)) << part << " of " << name;
        ++compared;
      });
    }
    EXPECT_GT(compared, 10u);
  }
}

TEST(OptimizerFileParts, AreRefusedWhereTheyDoNotFit) {
  const test::TestFolder base;
  const at::Tensor codes = at::zeros({4, 4}, at::kByte);
  write_optimizer_rows(base.path(), {{"w", {}}}, "adamw_8bit");
  const auto opens = [&](const std::vector<NamedTensor>& tensors) {
    write_safetensors(base / kOptimizerTensors, tensors);
    OptimizerFile::open(base.path());
  };
  const at::Tensor scales = at::zeros({1}, at::kFloat);
  EXPECT_NO_THROW(opens({{"m_scales.w", scales}, {"m.w", codes}}));
  EXPECT_THROW(opens({{"m.w", codes}}), UserError) << "no scales";
  EXPECT_THROW(opens({{"v_rows.w", codes}}), UserError) << "codes as factors";
  EXPECT_THROW(opens({{"n.w", scales}}), UserError) << "no such part";
  EXPECT_THROW(opens({{"m.x", scales}}), UserError) << "no such tensor";
}

}  // namespace
}  // namespace annuli::grow
