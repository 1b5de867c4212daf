#include "annuli/gguf/architecture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "annuli/config/family.h"
#include "annuli/core/error.h"
#include "annuli/gguf/positions.h"

namespace annuli::gguf {
namespace {

constexpr auto kArchitectures = std::to_array<Architecture>({
    {"llama", "llama", true, true, true},
    {"mistral", "llama", true, true, true},
    {"mixtral", "llama", true, true, true},
    {"arcee", "arcee", true, true, true},
    {"granite", "granite", true, true, true},
    {"qwen2", "qwen2"},
    {"qwen2_moe", "qwen2moe", false, false},
    {"qwen3", "qwen3"},
    {"qwen3_moe", "qwen3moe"},
    {"olmo2", "olmo2", false, false},
    {"gpt_neox", "gptneox", false, false, false, true},
});

// A setting that llama.cpp does not have for the family; "" if all is well.
std::string fault_of(const Architecture& architecture,
                     const ModelConfig& config) {
  const std::string_view type = architecture.model_type;
  const Activation activation = activation_of(type);
  if (config.hidden_act != activation) {
    return fmt::format("hidden_act {}, expected {}", word_of(config.hidden_act),
                       word_of(activation));
  }
  const bool is_llama = architecture.turns_neighbours;
  if (!is_llama && type != "gpt_neox" && config.o_bias) {
    return "a bias of attention's output, expected none";
  }
  if ((type == "qwen3" || type == "qwen3_moe" || type == "olmo2") &&
      config.qkv_bias) {
    return "attention_bias, expected none";
  }
  if (type == "qwen2_moe" && !config.qkv_bias) {
    return "no biases of q, k and v, expected them";
  }
  if (type == "qwen2_moe" && !config.has_shared_expert()) {
    return "no shared expert, expected one";
  }
  if (config.is_mixture() && config.norm_topk_prob != normalises_gates(type)) {
    return fmt::format("norm_topk_prob {}, expected {}", config.norm_topk_prob,
                       normalises_gates(type));
  }
  return fault_of_positions(architecture, config);
}

uint32_t count(int64_t value) { return static_cast<uint32_t>(value); }

bool is_mixture(const Architecture& architecture) {
  return find_family(architecture.model_type).mixture;
}

}  // namespace

Activation activation_of(std::string_view model_type) {
  if (model_type == "arcee") return Activation::kRelu2;
  if (model_type == "gpt_neox") return Activation::kGelu;
  return Activation::kSilu;
}

bool normalises_gates(std::string_view model_type) {
  return model_type != "qwen2_moe";
}

std::string key_of(const Architecture& architecture, std::string_view name) {
  return fmt::format("{}.{}", architecture.name, name);
}

const Architecture* find_architecture(std::string_view name, bool mixture) {
  for (const Architecture& one : kArchitectures) {
    if (one.name == name && is_mixture(one) == mixture) return &one;
  }
  return nullptr;
}

std::string architecture_names() {
  std::vector<std::string_view> names;
  for (const Architecture& one : kArchitectures) {
    if (std::ranges::find(names, one.name) == names.end()) {
      names.push_back(one.name);
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

const Architecture& architecture_of(const ModelConfig& config,
                                    const std::string& model_type,
                                    const std::string& doing) {
  const auto found =
      std::ranges::find(kArchitectures, model_type, &Architecture::model_type);
  if (found == kArchitectures.end()) {
    std::vector<std::string_view> known;
    for (const Architecture& one : kArchitectures) {
      known.push_back(one.model_type);
    }
    user_error(
        "{}: found model_type {}, expected one that llama.cpp "
        "computes: {}; a folder of Hugging Face's form can be written instead",
        doing, model_type, fmt::join(known, ", "));
  }
  if (const std::string fault = fault_of(*found, config); !fault.empty()) {
    user_error("{}: found {} for the {} of llama.cpp", doing, fault,
               found->name);
  }
  return *found;
}

void add_shape(const Architecture& architecture, const ModelConfig& config,
               Writer& writer) {
  const auto key = [&](std::string_view name) {
    return key_of(architecture, name);
  };
  writer.add(key("vocab_size"), count(config.vocab_size));
  writer.add(key("context_length"), count(config.max_position_embeddings));
  writer.add(key("embedding_length"), count(config.hidden_size));
  writer.add(key("block_count"), count(config.num_hidden_layers));
  writer.add(key("feed_forward_length"), count(config.intermediate_size));
  writer.add(key("attention.head_count"), count(config.num_attention_heads));
  writer.add(key("attention.head_count_kv"), count(config.num_key_value_heads));
  writer.add(key("attention.key_length"), count(config.head_dim));
  writer.add(key("attention.value_length"), count(config.head_dim));
  writer.add(key(config.norm_type == NormType::kLayer
                     ? "attention.layer_norm_epsilon"
                     : "attention.layer_norm_rms_epsilon"),
             static_cast<float>(config.rms_norm_eps));
  add_positions(architecture, config, writer);
  if (config.norm_type == NormType::kLayer) {
    writer.add(key("use_parallel_residual"), config.parallel_residual);
  }
  if (architecture.name == "granite") {
    writer.add(key("attention.scale"),
               static_cast<float>(
                   1 / std::sqrt(static_cast<double>(config.head_dim))));
    writer.add(key("embedding_scale"), 1.0F);
    writer.add(key("residual_scale"), 1.0F);
    writer.add(key("logit_scale"),
               static_cast<float>(1 / config.logit_multiplier));
  }
  if (!config.is_mixture()) return;
  writer.add(key("expert_count"), count(config.num_experts));
  writer.add(key("expert_used_count"), count(config.num_experts_per_tok));
  if (architecture.name == "llama") return;
  writer.add(key("expert_feed_forward_length"),
             count(config.intermediate_size));
  if (config.has_shared_expert()) {
    writer.add(key("expert_shared_feed_forward_length"),
               count(config.shared_expert_intermediate_size));
  }
}

}  // namespace annuli::gguf
