#include "annuli/gguf/stored_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "annuli/config/family.h"
#include "annuli/core/error.h"
#include "annuli/core/gguf_writer.h"
#include "annuli/core/quote.h"
#include "annuli/gguf/positions.h"
#include "annuli/gguf/stored_number.h"
#include "annuli/gguf/tensor_names.h"

namespace annuli::gguf {
namespace {

// Beside what `add_shape` writes, without a meaning for what is computed.
constexpr auto kPassedOver = std::to_array<std::string_view>(
    {"vocab_size", "tensor_data_layout", "rope.scaling.finetuned",
     "rope.scaling.original_context_length"});

// With which a key that our architectures do not read says what is computed
// anyhow.
std::optional<double> usual_value(std::string_view key) {
  constexpr auto kUsual = std::to_array<std::pair<std::string_view, double>>(
      {{"rope.scaling.yarn_beta_fast", 32},
       {"rope.scaling.yarn_beta_slow", 1},
       {"rope.scaling.yarn_ext_factor", 1},
       {"rope.scaling.yarn_attn_factor", 1}});
  for (const auto& [name, value] : kUsual) {
    if (name == key) return value;
  }
  return std::nullopt;
}

std::string shown(const Value& value) {
  if (const auto number = value.number()) return fmt::format("{}", *number);
  if (const auto flag = value.flag()) return *flag ? "true" : "false";
  if (const auto text = value.text()) return quote(*text);
  return "a list";
}

bool agree(const Value& a, const Value& b) {
  if (const auto number = a.number()) {
    return b.number() && is_near(*number, *b.number());
  }
  if (const auto flag = a.flag()) return b.flag() == flag;
  return a.text() && b.text() == a.text();
}

class ConfigReader {
 public:
  explicit ConfigReader(const File& file)
      : file_(file), name_(file.text("general.architecture", "")) {
    if (file.whole("split.count", 1) > 1) {
      refuse(file,
             "it is one of {} parts; join them first with "
             "`llama-gguf-split --merge`",
             file.whole("split.count"));
    }
  }

  StoredConfig run() {
    StoredConfig found;
    const std::string own = file_.text(kConfigKey, "");
    const bool mixture = file_.whole(name_ + ".expert_count", 0) > 0;
    found.architecture = find_architecture(name_, mixture);
    if (found.architecture == nullptr) {
      refuse(file_, "found the architecture {}{}, expected one of {}",
             quote(name_), mixture ? " with experts" : "",
             architecture_names());
    }
    if (own.empty()) {
      found.config = shape_of(*found.architecture);
      found.json = json_of(found.config);
    } else {
      found.json = parsed(own);
      found.config = model_config_from_json(found.json);
      found.architecture = &architecture_of(
          found.config, found.json.value("model_type", ""),
          fmt::format("reading {}: key {}", file_.path(), kConfigKey));
    }
    check(found);
    return found;
  }

 private:
  Json parsed(const std::string& text) const {
    if (is_too_deep(text)) {
      refuse(file_, "key {} is nested too deeply", kConfigKey);
    }
    Json json = Json::parse(text, nullptr, false);
    const bool named = json.is_object() && json.contains("model_type") &&
                       json["model_type"].is_string();
    if (!named) refuse(file_, "key {} is no config.json", kConfigKey);
    return json;
  }

  bool has(std::string_view tensor) const {
    return file_.find_tensor(tensor) != nullptr;
  }

  ModelConfig shape_of(const Architecture& architecture) const {
    const auto key = [&](std::string_view name) {
      return key_of(architecture, name);
    };
    const Family& family = find_family(architecture.model_type);
    ModelConfig config =
        read_shape(family, with_defaults(family, Json::object()));
    config.hidden_act = activation_of(architecture.model_type);
    config.vocab_size = rows_of_table();
    config.hidden_size = file_.whole(key("embedding_length"));
    config.num_hidden_layers = file_.whole(key("block_count"));
    config.num_attention_heads = file_.whole(key("attention.head_count"));
    config.num_key_value_heads =
        file_.whole(key("attention.head_count_kv"), config.num_attention_heads);
    if (config.num_attention_heads < 1) {
      refuse(file_, "{} heads of attention", config.num_attention_heads);
    }
    config.head_dim =
        file_.whole(key("attention.key_length"),
                    config.hidden_size / config.num_attention_heads);
    config.max_position_embeddings = file_.whole(key("context_length"));
    config.rms_norm_eps =
        decimal(file_.number(key(config.norm_type == NormType::kLayer
                                     ? "attention.layer_norm_epsilon"
                                     : "attention.layer_norm_rms_epsilon")));
    config.tie_word_embeddings = !has(kHead);
    config.qkv_bias = has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias");
    config.o_bias = has("blk.0.attn_output.bias");
    config.mlp_bias = has("blk.0.ffn_down.bias");
    if (config.norm_type == NormType::kLayer) {
      config.parallel_residual = file_.flag(key("use_parallel_residual"), true);
    }
    if (family.logit_divisor_key != nullptr) {
      const double divisor = file_.number(key("logit_scale"));
      if (divisor == 0) refuse(file_, "key {} is 0", key("logit_scale"));
      config.logit_multiplier = 1 / decimal(divisor);
    }
    add_feed_forward(architecture, config);
    read_positions(file_, architecture, family, config);
    validate(config);
    return config;
  }

  int64_t rows_of_table() const {
    const Tensor* table = file_.find_tensor("token_embd.weight");
    if (table == nullptr)
      refuse(file_, "tensor 'token_embd.weight' is missing");
    return table->shape.front();
  }

  void add_feed_forward(const Architecture& architecture,
                        ModelConfig& config) const {
    const auto key = [&](std::string_view name) {
      return key_of(architecture, name);
    };
    const bool mixture = find_family(architecture.model_type).mixture;
    const bool own_width = mixture && architecture.name != "llama";
    config.intermediate_size = file_.whole(
        key(own_width ? "expert_feed_forward_length" : "feed_forward_length"));
    config.num_experts = mixture ? file_.whole(key("expert_count")) : 0;
    config.num_experts_per_tok =
        mixture ? file_.whole(key("expert_used_count")) : 0;
    config.norm_topk_prob =
        !mixture || normalises_gates(architecture.model_type);
    config.shared_expert_intermediate_size =
        mixture ? file_.whole(key("expert_shared_feed_forward_length"), 0) : 0;
  }

  // In the words of the family, with the tokens that begin and end a text.
  Json json_of(const ModelConfig& config) const {
    Json json = to_json(config);
    for (const char* which : {"bos", "eos"}) {
      const int64_t id =
          file_.whole(fmt::format("tokenizer.ggml.{}_token_id", which), -1);
      json[fmt::format("{}_token_id", which)] =
          id >= 0 && id < config.vocab_size ? Json(id) : Json();
    }
    return json;
  }

  void check(const StoredConfig& found) const {
    const Architecture& architecture = *found.architecture;
    if (name_ != architecture.name) {
      refuse(file_, "general.architecture is {}, expected {} as {} says",
             quote(name_), architecture.name, kConfigKey);
    }
    Writer writer;
    add_shape(architecture, found.config, writer);
    const std::string header = writer.header();
    const File expected(std::as_bytes(std::span(header)), file_.path());
    for (const auto& [key, value] : expected.values()) {
      const Value* stored = file_.find(key);
      if (stored == nullptr || agree(value, *stored)) continue;
      if (key == key_of(architecture, "feed_forward_length") &&
          file_.find(key_of(architecture, "expert_feed_forward_length"))) {
        continue;  // of layers without experts
      }
      refuse(file_, "key {} is {}, expected {}", key, shown(*stored),
             shown(value));
    }
    check_no_others(architecture, expected);
    check_rope_factors(file_, found.config);
  }

  // A key of the architecture that we would not write may change what is
  // computed.
  void check_no_others(const Architecture& architecture,
                       const File& expected) const {
    const std::string prefix = key_of(architecture, "");
    for (const auto& [key, value] : file_.values()) {
      if (!key.starts_with(prefix) || expected.find(key) != nullptr) continue;
      const std::string_view rest = std::string_view(key).substr(prefix.size());
      if (std::ranges::find(kPassedOver, rest) != kPassedOver.end()) continue;
      const bool none = rest == "rope.scaling.type" && value.text() == "none";
      const bool zero = value.number() == 0.0;
      const bool usual =
          usual_value(rest) && value.number() == usual_value(rest);
      if (none || zero || usual) continue;
      refuse(file_, "found the key {} ({}), which no model here computes", key,
             shown(value));
    }
  }

  const File& file_;
  std::string name_;
};

}  // namespace

StoredConfig stored_config(const File& file) {
  return ConfigReader(file).run();
}

}  // namespace annuli::gguf
