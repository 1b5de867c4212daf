// Files that are not what they claim to be: models, tokenizers, tokens, runs,
// states, plans.
#include "annuli/checkpoint/test_files.h"
#include "annuli/checkpoint/zip_directory.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"
#include "bad_input.h"

namespace annuli::test {
namespace {

class BadFiles : public ::testing::TestWithParam<BadInput> {};

TEST_P(BadFiles, AreRefusedInOneLine) { expect_refused(GetParam()); }

Json config() {
  return {{"model_type", "llama"},    {"vocab_size", 8},
          {"hidden_size", 4},         {"intermediate_size", 8},
          {"num_hidden_layers", 1},   {"num_attention_heads", 2},
          {"num_key_value_heads", 1}, {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-5},     {"max_position_embeddings", 16}};
}

// `header` as it stands in the file, and so many bytes of data.
std::string safetensors(const std::string& header, size_t data) {
  return number(static_cast<uint64_t>(header.size())) + header +
         std::string(data, '\1');
}

std::string one_tensor(const char* shape, const char* offsets) {
  return fmt::format(
      R"({{"a":{{"dtype":"F32","shape":{},"data_offsets":{}}}}})", shape,
      offsets);
}

// `annuli inspect` of a folder with these weights.
Words inspect_weights(const Place& place, const std::string& weights) {
  place.write("config.json", config().dump());
  place.write("model.safetensors", weights);
  return {"inspect", place.scratch.path().string()};
}

Words inspect_index(const Place& place, const Json& weight_map) {
  place.write("config.json", config().dump());
  place.write("a.safetensors", safetensors(one_tensor("[2]", "[0,8]"), 8));
  place.write("model.safetensors.index.json",
              Json{{"weight_map", weight_map}}.dump());
  return {"inspect", place.scratch.path().string()};
}

Words inspect_config(const Place& place, const Json& json) {
  place.write("config.json", json.dump());
  place.write("model.safetensors", safetensors("{}", 0));
  return {"inspect", place.scratch.path().string()};
}

Json config_with(const char* key, const Json& value) {
  Json json = config();
  json[key] = value;
  return json;
}

Words tokenize_with(const Place& place, const std::string& tokenizer) {
  return {"tokenize", "tests/data/village", "--tokenizer", tokenizer, "--out",
          place.out};
}

Words run_plan(const Place& place, const std::string& yaml) {
  return {"run", place.write("plan.yaml", yaml), "--out", place.out};
}

constexpr const char* kPlan = R"(
name: bad
data: {text: [tests/data/village], sequence_length: 32}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 2}
phases:
  - {name: a, train: {max_steps: 1, learning_rate: 0.001, batch_size: 1}}
)";

std::string grown_plan(const char* growth) {
  return std::string(kPlan) +
         fmt::format(
             "  - {{name: b, grow: {}, train: {{max_steps: 1, "
             "learning_rate: 0.001, batch_size: 1}}}}\n",
             growth);
}

void flip(const fs::path& file, int64_t from_end) {
  std::string bytes = read_file(file);
  bytes[bytes.size() - static_cast<size_t>(from_end)] ^= 1;
  write_raw(file, bytes);
}

fs::path newest_state(const fs::path& run) {
  fs::path newest;
  for (const auto& item : fs::directory_iterator(run / "state")) {
    newest = std::max(newest, item.path());
  }
  return newest;
}

const BadInput kCases[] = {
    {"SafetensorsHeaderBeyondTheFile",
     [](const Place& p) {
       return inspect_weights(p, number(uint64_t{1000}) + "{}");
     },
     {"model.safetensors", "header"}},
    {"SafetensorsHeaderOfHalfTheAddressSpace",
     [](const Place& p) {
       return inspect_weights(p, number(~uint64_t{0} / 2) + "{}");
     },
     {"model.safetensors", "header"}},
    {"SafetensorsHeaderThatIsNoJson",
     [](const Place& p) {
       return inspect_weights(p, safetensors("{\"a\":", 0));
     },
     {"model.safetensors"}},
    {"SafetensorsThatOverlap",
     [](const Place& p) {
       return inspect_weights(
           p, safetensors(
                  R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                  12));
     },
     {"model.safetensors", "'b'"}},
    {"SafetensorsWithAHole",
     [](const Place& p) {
       return inspect_weights(
           p, safetensors(
                  R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})",
                  20));
     },
     {"model.safetensors", "'b'"}},
    {"SafetensorsOffsetsThatOverflow",
     [](const Place& p) {
       return inspect_weights(
           p, safetensors(one_tensor("[2]", "[8,18446744073709551615]"), 8));
     },
     {"model.safetensors", "'a'"}},
    {"SafetensorsWithATensorTwice",
     [](const Place& p) {
       return inspect_weights(
           p, safetensors(
                  R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                  16));
     },
     {"model.safetensors", "twice"}},
    {"SafetensorsOfAnAbsurdShape",
     [](const Place& p) {
       return inspect_weights(
           p, safetensors(one_tensor("[4294967296,4294967296]", "[0,8]"), 8));
     },
     {"model.safetensors", "'a'"}},
    {"SafetensorsWhoseShapeIsNotItsSize",
     [](const Place& p) {
       return inspect_weights(p, safetensors(one_tensor("[3]", "[0,8]"), 8));
     },
     {"model.safetensors", "'a'"}},
    {"SafetensorsOfAnUnknownType",
     [](const Place& p) {
       return inspect_weights(
           p,
           safetensors(
               R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}})", 8));
     },
     {"model.safetensors", "Q4"}},
    {"SafetensorsCutShort",
     [](const Place& p) {
       return inspect_weights(p, safetensors(one_tensor("[2]", "[0,8]"), 5));
     },
     {"model.safetensors"}},
    {"IndexThatLeavesTheFolder",
     [](const Place& p) {
       return inspect_index(p, {{"a", "../../etc/passwd"}});
     },
     {"index.json", "../../etc/passwd"}},
    {"IndexWithoutItsShard",
     [](const Place& p) {
       return inspect_index(p, {{"a", "b.safetensors"}});
     },
     {"b.safetensors"}},
    {"IndexThatNamesTheWrongShard",
     [](const Place& p) {
       p.write("b.safetensors", safetensors("{}", 0));
       return inspect_index(p, {{"a", "b.safetensors"}});
     },
     {"index.json", "'a'"}},
    {"TensorInTwoShards",
     [](const Place& p) {
       p.write("b.safetensors", safetensors(one_tensor("[2]", "[0,8]"), 8));
       return inspect_index(p,
                            {{"a", "a.safetensors"}, {"c", "b.safetensors"}});
     },
     {"'a'"}},
    {"IndexThatIsAList",
     [](const Place& p) { return inspect_index(p, Json::array({1})); },
     {"index.json"}},
    {"ConfigWithoutAFamily",
     [](const Place& p) {
       Json json = config();
       json.erase("model_type");
       return inspect_config(p, json);
     },
     {"config.json", "model_type"}},
    {"ConfigWithoutAWidth",
     [](const Place& p) {
       Json json = config();
       json.erase("hidden_size");
       inspect_config(p, json);
       const std::string folder = p.scratch.path().string();
       return Words{"grow", "deepen", folder, "--out", folder + "/child"};
     },
     {"[8, 4096]", "taken from a llama: hidden_size 4096"}},
    {"ConfigWithANumberThatIsNone",
     [](const Place& p) {
       inspect_config(p, config());
       p.write("config.json",
               R"({"model_type": "llama", "rms_norm_eps": NaN})");
       return Words{"inspect", p.scratch.path().string()};
     },
     {"config.json", "'rms_norm_eps' is 'NaN'"}},
    {"ConfigOfAModelThatLooksAhead",
     [](const Place& p) {
       return inspect_config(p, config_with("is_causal", false));
     },
     {"config.json", "'is_causal' is 'false'"}},
    {"ConfigOfAnUnknownFamily",
     [](const Place& p) {
       return inspect_config(p, config_with("model_type", "bert"));
     },
     {"config.json", "bert"}},
    {"ConfigWithHeadsThatDoNotDivide",
     [](const Place& p) {
       return inspect_config(p, config_with("num_key_value_heads", 3));
     },
     {"opening the model", "num_key_value_heads 3"}},
    {"ConfigWithAWordForANumber",
     [](const Place& p) {
       return inspect_config(p, config_with("vocab_size", "many"));
     },
     {"config.json", "vocab_size"}},
    {"ConfigOfAnImpossibleSize",
     [](const Place& p) {
       return inspect_config(p, config_with("hidden_size", 1e30));
     },
     {"config.json", "hidden_size"}},
    {"ConfigThatIsNoJson",
     [](const Place& p) {
       p.write("config.json", "{\"model_type\": ");
       return Words{"inspect", p.scratch.path().string()};
     },
     {"config.json"}},
    {"PtThatWouldRunACommand",
     [](const Place& p) {
       const std::string pickle =
           "\x80\x02"
           "cposix\nsystem\n(X" +
           number(uint32_t{4}) + "truetR.";
       return Words{"inspect",
                    p.write("evil.pt", make_zip({{"a/data.pkl", pickle}}))};
     },
     {"evil.pt", "posix"}},
    {"PtWithoutAPickle",
     [](const Place& p) {
       return Words{"inspect", p.write("empty.pt", make_zip({{"a/x", "y"}}))};
     },
     {"empty.pt", "data.pkl"}},
    {"PtWithAFlippedWeight",
     [](const Place& p) {
       std::string bytes = read_file(p.model);
       bytes[bytes.size() / 2] ^= 1;
       return Words{"inspect", p.write("flipped.pt", bytes)};
     },
     {"flipped.pt", "checksum"}},
    {"TokenizerThatIsNoJson",
     [](const Place& p) {
       return tokenize_with(p, p.write("tokenizer.json", "{"));
     },
     {"tokenizer.json"}},
    {"TokenizerOfAnotherKind",
     [](const Place& p) {
       return tokenize_with(
           p, p.write("tokenizer.json", R"({"model": {"type": "WordPiece"}})"));
     },
     {"tokenizer.json", "WordPiece"}},
    {"VocabularyWithoutMerges",
     [](const Place& p) {
       p.write("vocab.json", "{}");
       return tokenize_with(p, p.scratch.path().string());
     },
     {"merges.txt"}},
    {"MergesOfUnknownTokens",
     [](const Place& p) {
       p.write("vocab.json",
               tiny_tokenizer_json().at("model").at("vocab").dump());
       p.write("merges.txt", "#version: 0.2\nh e\nq z\n");
       return tokenize_with(p, p.scratch.path().string());
     },
     {"merge 1", "'qz'"}},
    {"PackedTextThatIsNotPacked",
     [](const Place& p) {
       return Words{
           "tokenize",    p.write("a.txt.gz", "\x1f\x8b\x08 not packed at all"),
           "--tokenizer", "bytes",
           "--out",       p.out};
     },
     {"a.txt.gz"}},
    {"PlanThatIsNoYaml",
     [](const Place& p) { return run_plan(p, "name: [a\nphases: }"); },
     {"plan.yaml:"}},
    {"PlanThatIsAList",
     [](const Place& p) { return run_plan(p, "- name: a\n"); },
     {"plan.yaml"}},
    {"PlanWhoseAliasesMultiply",
     [](const Place& p) {
       std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
       for (int i = 1; i < 12; ++i) {
         yaml += fmt::format(
             "a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, "
             "*a{1}, *a{1}, *a{1}]\n",
             i, i - 1);
       }
       return run_plan(p, yaml);
     },
     {"plan.yaml", "alias"}},
    {"PlanWithAKeyTwice",
     [](const Place& p) {
       return run_plan(p, std::string(kPlan) + "name: again\n");
     },
     {"plan.yaml:", "name"}},
    {"PlanWithANul",
     [](const Place& p) {
       return run_plan(p, kPlan + std::string("# a\0N", 5));
     },
     {"plan.yaml: line ", "\\x00"}},
    {"PlanWithAWordForANumber",
     [](const Place& p) {
       return run_plan(p, std::string(kPlan) + "seed: lucky\n");
     },
     {"plan.yaml:", "seed", "lucky"}},
    {"PlanOfAnImpossibleSize",
     [](const Place& p) {
       return run_plan(
           p, std::string(kPlan) + "probe: {windows: 99999999999999999999}\n");
     },
     {"plan.yaml:", "windows"}},
    {"PlanThatWidensToNothingWhole",
     [](const Place& p) {
       return run_plan(p, grown_plan("{widen: {heads: 3, hidden: 48}}"));
     },
     {"plan.yaml", "widen"}},
    {"PlanThatGrowsBackwards",
     [](const Place& p) {
       return run_plan(p, grown_plan("{widen: {hidden: 16}}"));
     },
     {"plan.yaml", "hidden"}},
    {"PlanWithTwoOperatorsAtOnce",
     [](const Place& p) {
       return run_plan(p, grown_plan("{widen: {}, deepen: {}}"));
     },
     {"plan.yaml"}},
    {"LineageThatIsNoChain",
     [](const Place& p) {
       const std::string lineage = p.write("lineage.json", R"({
         "format_version": 1, "records": [
         {"operator": "initialize", "arguments": {}, "seed": 1, "parent": "",
          "child": "aa", "tensors": [], "verdicts": [], "versions": {}},
         {"operator": "widen", "arguments": {}, "seed": 1, "parent": "bb",
          "child": "cc", "tensors": [], "verdicts": [], "versions": {}}]})");
       return Words{"grow", "--replay", lineage, p.model, "--out", p.out};
     },
     {"lineage.json", "record 1"}},
    {"LineageNestedTooDeeply",
     [](const Place& p) {
       const std::string lineage = p.write(
           "lineage.json",
           R"({"format_version": 1, "records": [{"operator": "widen",
               "seed": 1, "parent": "", "child": "a", "tensors": [],
               "verdicts": [], "versions": {}, "arguments": )" +
               std::string(200'000, '[') + std::string(200'000, ']') + "}]}");
       return Words{"grow", "--replay", lineage, p.model, "--out", p.out};
     },
     {"lineage.json", "nested"}},
    {"LineageWithoutItsKeys",
     [](const Place& p) {
       const std::string lineage =
           p.write("lineage.json", R"({"format_version": 1, "records": [{}]})");
       return Words{"grow", "--replay", lineage, p.model, "--out", p.out};
     },
     {"lineage.json", "operator"}},
    {"HistoryThatIsNoJson",
     [](const Place& p) {
       const fs::path run = p.copy_of_run();
       write_raw(run / "training_history.jsonl", "{\"type\": \"step\"}\n?\n");
       return Words{"inspect", run.string()};
     },
     {"training_history.jsonl", "line 2"}},
    {"HistoryOfAFinishedRunThatHasChanged",
     [](const Place& p) {
       const fs::path run = p.copy_of_run();
       flip(run / "training_history.jsonl", 400);
       return Words{"run", (run / "plan.yaml").string(), "--out", run.string()};
     },
     {"training_history.jsonl", "checksum"}},
    {"SummaryOfNothing",
     [](const Place& p) {
       const fs::path run = p.copy_of_run();
       write_raw(run / "summary.json", "{}");
       return Words{"run", (run / "plan.yaml").string(), "--out", run.string()};
     },
     {"summary.json", "plan_hash"}},
    {"StateWhoseRecordHasChanged",
     [](const Place& p) {
       const fs::path state = newest_state(p.copy_of_run());
       Json json = read_json(state / "state.json");
       json["progress"]["step"] = 99;
       write_raw(state / "state.json", json.dump());
       return Words{"inspect", state.string()};
     },
     {"state.json", "hash"}},
    {"StateOfAnotherVersion",
     [](const Place& p) {
       const fs::path state = newest_state(p.copy_of_run());
       write_raw(state / "state.json", R"({"format_version": 1})");
       return Words{"inspect", state.string()};
     },
     {"format_version 1"}},
    {"StateWithAFlippedMoment",
     [](const Place& p) {
       const fs::path state = newest_state(p.copy_of_run());
       flip(state / "optimizer.safetensors", 3);
       return Words{"export", state.string(), "--out", p.out};
     },
     {"optimizer.safetensors", "hash"}},
    {"RunFolderThatIsAFile",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out", p.write("taken", "x")};
     },
     {"taken"}},
};

INSTANTIATE_TEST_SUITE_P(Program, BadFiles, ::testing::ValuesIn(kCases),
                         [](const auto& instance) {
                           return std::string(instance.param.name);
                         });

}  // namespace
}  // namespace annuli::test
