#include "annuli/config/class_defaults.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/python_json.h"
#include "annuli/report/page.h"
#include "annuli/report/run_data.h"
#include "annuli/train/history.h"
#include "annuli/watch/live_run.h"
#include "annuli/watch/request_check.h"
#include "tests/fuzz/target.h"

namespace annuli::fuzz {
namespace {

constexpr const char* kPlan = R"(
name: fuzzed
seed: 1
data: {text: [x.txt], sequence_length: 32}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 2}
phases:
  - name: dense
    train: &t {max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}
  - name: moe
    grow: {upcycle: {num_experts: 4, num_experts_per_tok: 2}}
    train: *t
  - name: wide
    grow: {widen: {factor: 2, noise_snr_db: null}, optimizer: reset}
    train: {max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}
)";

// Aliases that multiply.
constexpr const char* kLaughs = R"(
a: &a [x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
name: *c
)";

std::vector<std::string> plan_seeds() { return {kPlan, kLaughs, "", "- 1"}; }

void read_plan(const std::string& bytes) {
  const Plan plan = parse_plan(bytes, "input.yaml");
  // What was accepted can be written and read again.
  const Plan again = parse_plan(to_yaml(plan), "again.yaml");
  ANNULI_CHECK(plan_hash(again) == plan_hash(plan),
               "written and read again it is another plan:\n{}",
               to_yaml(again));
}

std::vector<std::string> config_seeds() {
  Json llama = {{"model_type", "llama"},
                {"vocab_size", 300},
                {"hidden_size", 24},
                {"intermediate_size", 48},
                {"num_hidden_layers", 2},
                {"num_attention_heads", 4},
                {"num_key_value_heads", 2},
                {"hidden_act", "silu"},
                {"rms_norm_eps", 1e-5},
                {"rope_theta", 10000.0},
                {"rope_scaling", nullptr},
                {"tie_word_embeddings", false},
                {"max_position_embeddings", 64}};
  Json yarn = llama;
  yarn["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 32}};
  Json mixtral = llama;
  mixtral["model_type"] = "mixtral";
  mixtral["num_local_experts"] = 4;
  mixtral["num_experts_per_tok"] = 2;
  Json qwen = llama;
  qwen["model_type"] = "qwen3_moe";
  qwen["num_experts"] = 4;
  qwen["num_experts_per_tok"] = 2;
  qwen["moe_intermediate_size"] = 12;
  qwen["head_dim"] = 8;
  qwen["norm_topk_prob"] = true;
  qwen["layer_types"] = {"full_attention", "full_attention"};
  const Json window = {{"model_type", "qwen2_moe"},
                       {"use_sliding_window", true},
                       {"max_window_layers", 0},
                       {"router_jitter_noise", "NaN"}};
  const std::string special =
      R"({"model_type": "llama", "x": [NaN, -Infinity]})";
  return {llama.dump(), yarn.dump(),   mixtral.dump(),
          qwen.dump(),  window.dump(), special};
}

void read_config(const std::string& bytes) {
  resolved_config(read_python_json(as_file("config.json", bytes)));
}

std::vector<std::string> history_seeds() {
  return {written("seed.jsonl", [](const fs::path& path) {
    train::History history(path);
    history.append({{"type", "step"}, {"phase", "a"}, {"loss", 3.5}});
    history.append({{"type", "phase"}, {"phase", "a"}});
  })};
}

void read_history(const std::string& bytes) {
  train::read_history(as_file("history.jsonl", bytes));
}

constexpr const char* kSteps =
    R"({"type":"step","phase":"a","step":1,"loss":3.5,"tokens":8,)"
    R"("tokens_per_second":9.5,"expert_load":[[3,1],[2,2]]})"
    "\n"
    R"({"type":"boundary","phase":"b","operator":"widen","seconds":1.5,)"
    R"("arguments":{"factor":2},"jump":1e-8})"
    "\n"
    R"({"type":"step","phase":"b","step":1,"loss":3.5,"tokens":8})"
    "\n"
    R"({"type":"phase","phase":"b","active_parameters":7})"
    "\n";

constexpr const char* kVerdicts =
    R"({"growth":[{"check":"c","aspect":"d","passed":true,"allowed":false,)"
    R"("measured":null,"limit":0.5,"layer":1,"note":"e"}],"after_phase":[]})";

// A run's folder that holds these files, and its page.
void make_folder(const std::string& history, const std::string& beside) {
  for (const char* name : {"run", "run/verify", "run/samples"}) {
    fs::create_directory(scratch() / name);
  }
  as_file("run/training_history.jsonl", history);
  as_file("run/verify/a.json", beside);
  as_file("run/samples/a.txt", beside);
}

void make_page(const std::string& history, const std::string& beside) {
  make_folder(history, beside);
  report::html_page(report::page_data({scratch() / "run"}));
}

std::vector<std::string> page_seeds() { return {kSteps}; }

void read_page(const std::string& bytes) { make_page(bytes, kVerdicts); }

std::vector<std::string> run_file_seeds() { return {kVerdicts}; }

void read_run_files(const std::string& bytes) { make_page(kSteps, bytes); }

// A run that has written half of this when it is first looked at. What is shown
// in the end is what a reader of the whole would show.
void follow_run(const std::string& bytes) {
  make_folder(bytes.substr(0, bytes.size() / 2), kVerdicts);
  watch::LiveRun run(scratch() / "run");
  run.refresh({});
  run.tell_all({});
  as_file("run/training_history.jsonl", bytes);
  run.refresh({});
  if (run.has_steps()) run.update({});
  const Json shown = run.has_steps() ? run.data() : Json();
  const Json whole = report::page_data({scratch() / "run"}).at("runs")[0];
  ANNULI_CHECK(
      shown["steps"] == whole["steps"] && shown["growths"] == whole["growths"],
      "a run that was followed shows something else");
}

std::vector<std::string> request_seeds() {
  return {"GET /steps?run=0&from=1&to=2 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
          "HEAD / HTTP/1.0\r\nX: y\r\nhost:localhost\r\n\r\n"};
}

// Nothing but one plain line is passed on.
void judge_request(const std::string& bytes) {
  if (watch::refusal_of(bytes, {.host = "a", .port = 80})) return;
  const std::string head = watch::passed_on(bytes);
  ANNULI_CHECK(head.ends_with(" HTTP/1.1\r\n\r\n") ||
                   head.ends_with(" HTTP/1.0\r\n\r\n"),
               "no request was passed on");
  ANNULI_CHECK(head.find('\n') == head.size() - 3 &&
                   head.find("..") == head.npos && head.find('%') == head.npos,
               "more than a path was passed on");
}

}  // namespace

std::vector<Target> config_targets() {
  return {{"plan", plan_seeds, read_plan},
          {"config", config_seeds, read_config},
          {"history", history_seeds, read_history},
          {"page", page_seeds, read_page},
          {"watch", page_seeds, follow_run},
          {"request", request_seeds, judge_request},
          {"run_files", run_file_seeds, read_run_files}};
}

}  // namespace annuli::fuzz
