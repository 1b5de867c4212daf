// What is wrong on the command line, in a plan, or in text.
#include "bad_input.h"

namespace annuli::test {
namespace {

class BadInputs : public ::testing::TestWithParam<BadInput> {};

TEST_P(BadInputs, AreRefusedInOneLine) { expect_refused(GetParam()); }

const BadInput kCases[] = {
    {"NoVerb", [](const Place&) { return Words{}; }, {"no verb", "--help"}},
    {"UnknownVerb",
     [](const Place&) {
       return Words{"evalaute", "x.pt"};
     },
     {"unknown verb 'evalaute'", "did you mean 'evaluate'?"}},
    {"UnknownFlag",
     [](const Place& p) {
       return Words{"evaluate", p.model, "--tokenzier", "bytes"};
     },
     {"unknown flag '--tokenzier'", "did you mean '--tokenizer'?",
      "annuli evaluate --help"}},
    {"UnknownFlagWithValue",
     [](const Place& p) {
       return Words{"inspect", p.model, "--tensor=1"};
     },
     {"unknown flag '--tensor'", "did you mean '--tensors'?"}},
    {"TooManyWords",
     [](const Place& p) {
       return Words{"inspect", p.model, p.model, "more"};
     },
     {"unexpected 'more'"}},
    {"MissingPath", [](const Place&) { return Words{"inspect"}; }, {"path"}},
    {"NoPlan", [](const Place&) { return Words{"run"}; }, {"no plan"}},
    {"PlanThatIsNotThere",
     [](const Place&) {
       return Words{"run", "plans/none.yaml"};
     },
     {"plans/none.yaml"}},
    {"PlanWithAnUnknownKey",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out",
                    p.out, "--set",           "phases.0.train.max_step=3"};
     },
     {"max_step", "did you mean 'max_steps'?"}},
    {"OutThatIsNotUtf8",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out", p.out + "\xff"};
     },
     {"output_dir", "expected UTF-8"}},
    {"PlanWithABadValue",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out",
                    p.out, "--set",           "data.sequence_length=0"};
     },
     {"sequence_length"}},
    {"PlanOfAnImpossibleModel",
     [](const Place& p) {
       return Words{"plan",  "plans/tiny.yaml",
                    "--set", "model.num_hidden_layers=4096",
                    "--set", "model.num_experts=4096",
                    "--set", "model.num_experts_per_tok=2"};
     },
     {"are 16777216 experts", "at most 131072"}},
    {"ResumeAndForce",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out",
                    p.out, "--resume",        "--force"};
     },
     {"--resume", "--force"}},
    {"AnotherPlansRun",
     [](const Place& p) {
       return Words{"run",           "plans/tiny.yaml", "--out",
                    p.copy_of_run(), "--set",           "seed=7"};
     },
     {"--resume", "--force"}},
    {"FlagGivenTwice",
     [](const Place& p) {
       return Words{"evaluate", p.model, "--windows", "1", "--windows", "2"};
     },
     {"--windows"}},
    {"ModelThatIsNotThere",
     [](const Place& p) {
       return Words{"inspect", p.scratch.file("none.pt")};
     },
     {"none.pt", "no such file"}},
    {"ModelThatIsText",
     [](const Place& p) {
       return Words{"inspect", p.write("text.pt", "no model at all")};
     },
     {"text.pt"}},
    {"TornModel",
     [](const Place& p) {
       return Words{"evaluate",           p.torn_model(), "--text",
                    "tests/data/village", "--tokenizer",  "bytes"};
     },
     {"torn.pt"}},
    {"EmptyFolder",
     [](const Place& p) {
       return Words{"inspect", p.scratch.path().string()};
     },
     {"config.json"}},
    {"EvaluateWithoutText",
     [](const Place& p) {
       return Words{"evaluate", p.model};
     },
     {"--text", "--tokens"}},
    {"TextAndTokens",
     [](const Place& p) {
       return Words{"evaluate",           p.model,    "--text",
                    "tests/data/village", "--tokens", "x.tokens"};
     },
     {"--text", "--tokens"}},
    {"TextThatIsNotThere",
     [](const Place& p) {
       return Words{"evaluate", p.model,       "--text",
                    "none.txt", "--tokenizer", "bytes"};
     },
     {"none.txt"}},
    {"TextTooShort",
     [](const Place& p) {
       return Words{"evaluate",    p.model, "--text", p.write("s.txt", "short"),
                    "--tokenizer", "bytes"};
     },
     {"256"}},
    {"TokenFileThatIsNone",
     [](const Place& p) {
       return Words{"evaluate", p.model, "--tokens", p.write("t", "no tokens")};
     },
     {"/t"}},
    {"TokenizerThatIsNotThere",
     [](const Place& p) {
       return Words{"generate", p.model,       "--prompt",
                    "x",        "--tokenizer", "none.json"};
     },
     {"none.json"}},
    {"UnknownType",
     [](const Place& p) {
       return Words{"evaluate", p.model, "--text", "x.txt", "--dtype", "f16"};
     },
     {"--dtype", "f16"}},
    {"NoWholeNumber",
     [](const Place& p) {
       return Words{"evaluate", p.model, "--text", "x.txt", "--windows", "2.5"};
     },
     {"--windows", "2.5", "whole number"}},
    {"NegativeTemperature",
     [](const Place& p) {
       return Words{"generate",    p.model, "--prompt",      "x",
                    "--tokenizer", "bytes", "--temperature", "-1"};
     },
     {"temperature"}},
    {"EmptyPrompt",
     [](const Place& p) {
       return Words{"generate", p.model,       "--prompt",
                    "",         "--tokenizer", "bytes"};
     },
     {"prompt"}},
    {"SecondPromptEmpty",
     [](const Place& p) {
       return Words{"generate", p.model, "--prompt",    "x",
                    "--prompt", "",      "--tokenizer", "bytes"};
     },
     {"prompt"}},
    {"GenerateInUnknownType",
     [](const Place& p) {
       return Words{"generate", p.model, "--prompt", "x", "--dtype", "int8"};
     },
     {"--dtype", "int8", "bf16"}},
    {"BatchOfNone",
     [](const Place& p) {
       return Words{"generate", p.model, "--prompt", "x", "--batch", "0"};
     },
     {"--batch", "'0'", "whole number from 1"}},
    {"TokenizeNothing",
     [](const Place& p) {
       return Words{"tokenize",    p.write("empty.txt", ""),
                    "--tokenizer", "bytes",
                    "--out",       p.out};
     },
     {"empty documents"}},
    {"TokenizeBrokenJsonLines",
     [](const Place& p) {
       return Words{"tokenize",
                    p.write("b.jsonl", "{\"text\": \"a\"}\n{\"text\": 7}\n"),
                    "--tokenizer",
                    "bytes",
                    "--out",
                    p.out};
     },
     {"b.jsonl", "2"}},
    {"TokenizeOverAnotherFile",
     [](const Place& p) {
       return Words{"tokenize",    "tests/data/village",
                    "--tokenizer", "bytes",
                    "--out",       p.write("precious", "keep me")};
     },
     {"precious"}},
    {"LogitsIntoNowhere",
     [](const Place& p) {
       return Words{"evaluate",    p.model,
                    "--text",      "tests/data/village",
                    "--tokenizer", "bytes",
                    "--logits",    p.scratch.file("none/logits.safetensors")};
     },
     {"none/logits.safetensors"}},
    {"VerifyWithAMapThatIsNone",
     [](const Place& p) {
       return Words{"verify", p.model, p.model, "--map",
                    p.write("map.json", "{\"shrink\": {}}")};
     },
     {"map.json", "found 'shrink', expected one operator",
      "{widen: {factor: 2}}"}},
    {"VerifyAllowsAnUnknownCheck",
     [](const Place& p) {
       return Words{"verify", p.model, p.model, "--allow", "everything"};
     },
     {"--allow", "everything"}},
};

INSTANTIATE_TEST_SUITE_P(Program, BadInputs, ::testing::ValuesIn(kCases),
                         [](const auto& instance) {
                           return std::string(instance.param.name);
                         });

}  // namespace
}  // namespace annuli::test
