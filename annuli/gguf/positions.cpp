#include "annuli/gguf/positions.h"

#include <fmt/core.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/gguf/decode.h"
#include "annuli/gguf/stored_number.h"
#include "annuli/gguf/tensor_names.h"

namespace annuli::gguf {
namespace {

using Scaling = RopeScaling::Type;

bool has_factors(const File& file) {
  return file.find_tensor(kRopeFactors) != nullptr;
}

// A product with it must not fall below the whole number.
double share_of(const ModelConfig& config, int64_t turned) {
  if (config.head_dim < 1) return 1;
  const double share =
      static_cast<double>(turned) / static_cast<double>(config.head_dim);
  ModelConfig shape = config;
  shape.partial_rotary_factor = share;
  return shape.rotary_dim() == turned ? share : std::nextafter(share, 2.0);
}

at::Tensor factors(const File& file, const ModelConfig& config) {
  const Tensor& tensor = *file.find_tensor(kRopeFactors);
  const std::vector<int64_t> expected = {config.rotary_dim() / 2};
  if (tensor.type != Type::kF32 || tensor.shape != expected) {
    refuse(file, "tensor {} is not {} numbers of f32", quote(kRopeFactors),
           expected.front());
  }
  return decode(tensor.type, file.data_of(tensor), tensor.shape);
}

bool gives(const ModelConfig& config, const at::Tensor& stored) {
  const at::Tensor made = rope_factors(config);  // 1 or more, each
  const double off = ((made - stored) / made).abs().max().item<double>();
  return off <= kRounding;
}

// All pairs beyond the original length are divided by the whole factor; where
// the blend begins and ends tells that length.
void read_llama3(const File& file, ModelConfig& config) {
  validate(config);
  const at::Tensor stored = factors(file, config);
  RopeScaling& scaling = config.rope_scaling;
  scaling.type = Scaling::kLlama3;
  scaling.factor = decimal(stored.max().item<double>());
  for (int bits = 3; bits <= 24 && scaling.factor >= 1; ++bits) {
    scaling.original_max_position_embeddings = int64_t{1} << bits;
    if (gives(config, stored)) return;
  }
  refuse(file, "tensor {} holds factors that are not llama3's",
         quote(kRopeFactors));
}

// Where a file says nothing, with llama.cpp's defaults.
void read_yarn(const File& file, const Architecture& architecture,
               ModelConfig& config) {
  const auto number = [&](std::string_view name, double other) {
    return decimal(file.number(key_of(architecture, name), other));
  };
  RopeScaling& scaling = config.rope_scaling;
  scaling.type = Scaling::kYarn;
  scaling.factor = number("rope.scaling.factor", 1);
  scaling.original_max_position_embeddings =
      file.whole(key_of(architecture, "rope.scaling.original_context_length"),
                 config.max_position_embeddings);
  const double own = yarn_attention_factor(scaling.factor);
  const double times = number("rope.scaling.attn_factor", 1);
  scaling.attention_factor = times == 1 ? own : decimal(times * own);
}

// Where what it says of a ramp is not read, and always this.
std::string fault_of_yarn(const RopeScaling& scaling) {
  const RopeScaling usual;
  const auto fault = [](const char* key, auto found, auto expected) {
    return fmt::format("{} {} of rope_type yarn, expected {}", key, found,
                       expected);
  };
  if (scaling.beta_fast != usual.beta_fast) {
    return fault("beta_fast", scaling.beta_fast, usual.beta_fast);
  }
  if (scaling.beta_slow != usual.beta_slow) {
    return fault("beta_slow", scaling.beta_slow, usual.beta_slow);
  }
  return scaling.truncate ? "" : fault("truncate", false, true);
}

}  // namespace

std::string fault_of_positions(const Architecture& architecture,
                               const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type == Scaling::kLlama3 && !architecture.takes_rope_factors) {
    return "rope_type llama3, expected none, linear or yarn";
  }
  return scaling.type == Scaling::kYarn ? fault_of_yarn(scaling) : "";
}

void add_positions(const Architecture& architecture, const ModelConfig& config,
                   Writer& writer) {
  const auto key = [&](std::string_view name) {
    return key_of(architecture, name);
  };
  const RopeScaling& scaling = config.rope_scaling;
  writer.add(key("rope.dimension_count"),
             static_cast<uint32_t>(config.rotary_dim()));
  writer.add(key("rope.freq_base"), static_cast<float>(config.rope_theta));
  const bool yarn = scaling.type == Scaling::kYarn;
  if (scaling.type != Scaling::kLinear && !yarn) return;
  writer.add(key("rope.scaling.type"), yarn ? "yarn" : "linear");
  writer.add(key("rope.scaling.factor"), static_cast<float>(scaling.factor));
  if (!yarn) return;
  writer.add(key("rope.scaling.original_context_length"),
             static_cast<uint32_t>(scaling.original_max_position_embeddings));
  writer.add(key("rope.scaling.attn_factor"),
             static_cast<float>(scaling.attention_factor /
                                yarn_attention_factor(scaling.factor)));
}

void read_positions(const File& file, const Architecture& architecture,
                    const Family& family, ModelConfig& config) {
  const auto key = [&](std::string_view name) {
    return key_of(architecture, name);
  };
  config.rope_theta = decimal(file.number(key("rope.freq_base"), 10000.0));
  const int64_t turned =
      file.whole(key("rope.dimension_count"), config.head_dim);
  config.partial_rotary_factor =
      family.partial_rotary_key != nullptr ? share_of(config, turned) : 1;
  const double factor = file.number(key("rope.scaling.factor"), 0.0);
  const std::string type = file.text(key("rope.scaling.type"), "linear");
  if (type != "linear" && type != "none" && type != "yarn") {
    refuse(file, "key {} is {}, expected linear or yarn",
           key("rope.scaling.type"), quote(type));
  }
  if (type == "linear" && factor != 0) {
    config.rope_scaling.type = Scaling::kLinear;
    config.rope_scaling.factor = decimal(factor);
  }
  if (type == "yarn") read_yarn(file, architecture, config);
  if (!architecture.takes_rope_factors || !has_factors(file)) return;
  if (type == "yarn") {
    refuse(file, "found yarn and the tensor {}, expected one of them",
           quote(kRopeFactors));
  }
  read_llama3(file, config);
}

void check_rope_factors(const File& file, const ModelConfig& config) {
  if (config.rope_scaling.type != Scaling::kLlama3) return;
  if (!has_factors(file)) {
    refuse(file, "tensor {} is missing", quote(kRopeFactors));
  }
  if (!gives(config, factors(file, config))) {
    refuse(file, "tensor {} holds other factors than {} says",
           quote(kRopeFactors), kConfigKey);
  }
}

}  // namespace annuli::gguf
