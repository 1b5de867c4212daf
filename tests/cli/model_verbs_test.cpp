// The verbs that read a model: inspect, evaluate, generate.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/model/tensor_table.h"
#include "program.h"
#include "tiny_run.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kText = "tests/data/village";

class ModelVerbs : public ::testing::Test {
 protected:
  Outcome run(std::vector<std::string> arguments,
              const std::vector<std::string>& more = {}) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, scratch_.path());
  }
  json run_json(std::vector<std::string> arguments,
                const std::vector<std::string>& more = {}) {
    arguments.push_back("--json");
    const Outcome outcome = run(arguments, more);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return json::parse(outcome.out, nullptr, false);
  }
  std::vector<std::string> evaluate(const std::string& checkpoint) {
    return {"evaluate",
            tiny_checkpoint(checkpoint),
            "--text",
            kText,
            "--tokenizer",
            "bytes",
            "--sequence-length",
            "32",
            "--windows",
            "3"};
  }
  std::vector<std::string> generate(const std::string& prompt) {
    return {"generate",         tiny_checkpoint("large_moe_final.pt"),
            "--prompt",         prompt,
            "--tokenizer",      "bytes",
            "--max-new-tokens", "12"};
  }
  ScratchFolder scratch_;
};

TEST_F(ModelVerbs, InspectComparesTwoModels) {
  const std::string dense = tiny_checkpoint("dense_model.pt");
  const std::string moe = tiny_checkpoint("moe_init.pt");
  const Outcome text = run({"inspect", dense, moe});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("num_experts                  - -> 4"));
  EXPECT_THAT(text.out,
              HasSubstr("8 x model.layers.*.mlp.experts.*.up_proj.weight  "
                        "[64,32]: new, equal to "
                        "model.layers.*.mlp.up_proj.weight\n"));
  EXPECT_THAT(text.out, HasSubstr("model.norm.weight  [32]: equal\n"));
  EXPECT_THAT(run({"inspect", dense, moe, "--tensors"}).out,
              HasSubstr("model.layers.1.mlp.experts.3.up_proj.weight"));
  const json record = run_json({"inspect", dense, moe});
  EXPECT_EQ(record.at("first"), dense);
  EXPECT_EQ(record.at("second"), moe);
  EXPECT_THAT(run({"inspect", dense, dense}).out,
              HasSubstr("config\n  equal\n"));
}

TEST_F(ModelVerbs, InspectTellsByHowMuchTensorsChanged) {
  const std::string init = tiny_checkpoint("moe_init.pt");
  const std::string trained = tiny_checkpoint("moe_model_final.pt");
  std::vector<double> changes;
  const json record = run_json({"inspect", init, trained});
  for (const json& tensor : record.at("tensors")) {
    const std::string name = tensor.at("name");
    if (name.ends_with(".mlp.gate.weight")) {
      changes.push_back(tensor.at("change"));
    }
  }
  ASSERT_EQ(changes.size(), 2u);
  const auto [least, most] = std::ranges::minmax(changes);
  ASSERT_GT(least, 0);
  EXPECT_THAT(
      run({"inspect", init, trained}).out,
      HasSubstr(fmt::format("2 x model.layers.*.mlp.gate.weight  [4,32]: "
                            "changed by {:.2g} to {:.2g} of its size\n",
                            least, most)));
}

TEST_F(ModelVerbs, InspectCountsParametersAndShowsTheLineage) {
  const std::string path = tiny_checkpoint("moe_model_final.pt");
  const json model = run_json({"inspect", path});
  const ModelFile file(path);
  const ParameterCount count = count_parameters(file.config());
  EXPECT_EQ(model.at("parameters").at("total"), count.total);
  EXPECT_EQ(model.at("parameters").at("active"), count.active);
  EXPECT_LT(count.active, count.total);
  EXPECT_EQ(model.at("bytes"), 4 * count.total);
  EXPECT_EQ(model.at("tensors").size(), file.entries().size());
  EXPECT_TRUE(model.at("faults").empty());
  EXPECT_EQ(model.at("lineage").at("records").size(), 4u);

  const Outcome text = run({"inspect", path});
  EXPECT_THAT(text.out, HasSubstr("active per token"));
  EXPECT_THAT(text.out, HasSubstr("upcycle"));
  EXPECT_THAT(text.out, ::testing::Not(HasSubstr("embed_tokens")));
  EXPECT_THAT(run({"inspect", path, "--tensors"}).out,
              HasSubstr("model.embed_tokens.weight"));
}

TEST_F(ModelVerbs, InspectReadsAModelFolder) {
  const fs::path folder = scratch_.path() / "model";
  save_folder(load_model(tiny_checkpoint("dense_model.pt")), folder);
  const json model = run_json({"inspect", folder.string()});
  EXPECT_EQ(model.at("format"), "folder");
  EXPECT_EQ(model.at("config").at("hidden_size"), 32);
}

TEST_F(ModelVerbs, EvaluateGivesTheSameFromTextAndFromTokens) {
  const std::string tokens = scratch_.file("t.tokens");
  ASSERT_EQ(
      run({"tokenize", kText, "--tokenizer", "bytes", "--out", tokens}).status,
      0);
  const json of_text = run_json(evaluate("dense_model.pt"));
  const json of_tokens =
      run_json({"evaluate", tiny_checkpoint("dense_model.pt"), "--tokens",
                tokens, "--sequence-length", "32", "--windows", "3"});
  EXPECT_EQ(of_text, of_tokens);
  EXPECT_EQ(scratch_.files(), std::vector<std::string>{"t.tokens"});

  const double loss = of_text.at("loss");
  // Three steps from a uniform guess over 257 tokens, ln 257 = 5.55.
  EXPECT_GT(loss, 1);
  EXPECT_LT(loss, 6);
  EXPECT_DOUBLE_EQ(of_text.at("perplexity"), std::exp(loss));
  // A token is a byte, but for the 12 ends of text.
  EXPECT_NEAR(of_text.at("bits_per_byte").get<double>(), loss / std::log(2.0),
              0.01 * loss);
}

TEST_F(ModelVerbs, EvaluateComputesInTheTypeThatIsAsked) {
  const double single = run_json(evaluate("dense_model.pt")).at("loss");
  const double in_double =
      run_json(evaluate("dense_model.pt"), {"--dtype", "f64"}).at("loss");
  EXPECT_NE(single, in_double);
  EXPECT_NEAR(single, in_double, 1e-5 * in_double);
}

TEST_F(ModelVerbs, EvaluateWindowsZeroTakesAllThatFit) {
  const json all =
      run_json({"evaluate", tiny_checkpoint("dense_model.pt"), "--text", kText,
                "--sequence-length", "511", "--windows", "0"});
  const json tokens = run_json(
      {"tokenize", kText, "--tokenizer", "bytes", "--out", scratch_.file("t")});
  // A window of 511 tokens and its targets takes 512.
  EXPECT_EQ(all.at("windows").get<int64_t>(),
            tokens.at("tokens").get<int64_t>() / 512);
}

TEST_F(ModelVerbs, LogitsAreTheModels) {
  const std::string path = scratch_.file("logits.safetensors");
  run_json(evaluate("moe_model_final.pt"), {"--logits", path});
  const SafetensorsFile file(path);
  const at::Tensor tokens = file.copy("tokens");
  const at::Tensor logits = file.copy("logits");
  EXPECT_EQ(tokens.sizes(), (at::IntArrayRef{3, 32}));
  EXPECT_EQ(logits.sizes(), (at::IntArrayRef{3, 32, 257}));

  // Another process with another number of threads may round its matrix
  // products otherwise: 10 roundings deep on logits of about 1.
  const auto difference = [&](const char* checkpoint) {
    const Transformer model = load_model(tiny_checkpoint(checkpoint));
    double worst = 0;
    for (int64_t i = 0; i < 3; ++i) {
      const at::Tensor own = model.logits(tokens.narrow(0, i, 1));
      worst = std::max(
          worst, (own - logits.narrow(0, i, 1)).abs().max().item<double>());
    }
    return worst;
  };
  EXPECT_LT(difference("moe_model_final.pt"), 1e-5);
  EXPECT_GT(difference("dense_model.pt"), 1e-3);
  EXPECT_THAT(run({"inspect", path}).out, HasSubstr("[3,32,257]"));
}

TEST_F(ModelVerbs, ABrokenModelFailsTheCheckOfItsLoss) {
  Transformer model = load_model(tiny_checkpoint("dense_model.pt"));
  model.set_weight(0, model.weight(0) * std::nan(""));
  const std::string path = scratch_.file("nan.pt");
  save_pt(model, path);
  const std::string logits = scratch_.file("logits.safetensors");
  const Outcome outcome = run({"evaluate", path, "--text", kText, "--tokenizer",
                               "bytes", "--windows", "1", "--logits", logits});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("nan.pt: the loss is nan"));
  EXPECT_FALSE(fs::exists(logits));
}

TEST_F(ModelVerbs, TheTokenizerIsTheOneThatTheModelNames) {
  const std::string named = tiny_checkpoint("dense_model.pt");
  const json asked = run_json(evaluate("dense_model.pt"));
  EXPECT_EQ(run_json({"evaluate", named, "--text", kText, "--sequence-length",
                      "32", "--windows", "3"}),
            asked);

  const Transformer model = load_model(named);
  const std::string path = scratch_.file("model.pt");
  const auto refused = [&](const json& extra, const char* tokenizer) {
    save_pt(model, path, {}, extra);
    std::vector<std::string> words = {"generate", path, "--prompt", "x"};
    if (*tokenizer != 0) words.insert(words.end(), {"--tokenizer", tokenizer});
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 2);
    return outcome.err;
  };
  EXPECT_THAT(refused(json::object(), ""), HasSubstr("--tokenizer"));
  const json another = {{"tokenizer", {{"name", "a"}, {"hash", "0123456789"}}}};
  EXPECT_THAT(refused(another, "bytes"), HasSubstr("0123456789 (a)"));
  EXPECT_THAT(refused(another, ""), HasSubstr("--tokenizer"));
}

TEST_F(ModelVerbs, GenerateContinuesThePrompt) {
  const Outcome first = run(generate("The miller "));
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("The miller "));
  EXPECT_EQ(first.out.back(), '\n');
  EXPECT_EQ(run(generate("The miller ")).out, first.out);
}

TEST_F(ModelVerbs, GenerateSamplesBySeed) {
  const auto tokens = [&](const char* seed) {
    return run_json(generate("The "), {"--temperature", "1", "--top-k", "50",
                                       "--top-p", "0.9", "--seed", seed})
        .at("tokens");
  };
  EXPECT_EQ(tokens("1"), tokens("1"));
  EXPECT_NE(tokens("1"), tokens("2"));
  EXPECT_LE(tokens("1").size(), 12u);
}

TEST_F(ModelVerbs, GenerateContinuesSeveralPromptsAsEachAlone) {
  const auto text = [&](const json& answer) { return answer.at("text"); };
  const json alone = run_json(generate("The miller "));
  const json all = run_json(
      generate("Once"),
      {"--prompt", "The miller ", "--prompt", "A", "--batch", "2", "--stats"});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1].at("prompt"), "The miller ");
  EXPECT_EQ(text(all[1]), text(alone));
  EXPECT_EQ(all[0].at("stats").at("prompt_tokens"), 4 + 11 + 1);

  auto verb = generate("Once");
  verb.insert(verb.end(), {"--prompt", "The miller "});
  const std::string out = run(verb).out;
  EXPECT_THAT(out, StartsWith("Once"));
  EXPECT_THAT(out, HasSubstr("\nThe miller " + text(alone).get<std::string>()));
}

TEST_F(ModelVerbs, GenerateReadsWeightsInTheTypeThatIsAsked) {
  const auto tokens = [&](const std::vector<std::string>& more) {
    return run_json(generate("The miller "), more).at("tokens");
  };
  const json stored = tokens({});
  EXPECT_EQ(tokens({"--dtype", "f32"}), stored);
  EXPECT_EQ(tokens({"--dtype", "f32", "--in-memory"}), stored);
  EXPECT_EQ(tokens({"--dtype", "bf16", "--in-memory"}),
            tokens({"--dtype", "bf16"}));
  EXPECT_EQ(tokens({"--dtype", "f64"}).size(), stored.size());
}

TEST_F(ModelVerbs, GenerateTellsTokensPerSecond) {
  auto verb = generate("Once");
  verb.push_back("--stats");
  const Outcome outcome = run(verb);
  EXPECT_THAT(outcome.err, StartsWith("prompt: 4 tokens, "));
  EXPECT_THAT(outcome.err, HasSubstr("; then: 11 tokens, "));
}

TEST_F(ModelVerbs, GenerateNothingPrintsThePrompt) {
  auto verb = generate("Once");
  verb.back() = "0";
  EXPECT_EQ(run(verb).out, "Once\n");
}

}  // namespace
}  // namespace annuli::test
