#include "annuli/gguf/model_tensors.h"

#include <fmt/core.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "annuli/gguf/encode.h"
#include "annuli/gguf/tensor_names.h"

namespace annuli::gguf {
namespace {

constexpr int64_t kQ8Block = 32;

Type type_of(const TensorSpec& spec, Type asked) {
  const bool is_router =
      spec.part == Part::kRouter || spec.part == Part::kSharedGate;
  if (!spec.is_matrix() || is_router) return Type::kF32;
  const bool fits = spec.shape().back() % kQ8Block == 0;
  return asked == Type::kQ8_0 && !fits ? Type::kF16 : asked;
}

void add_zeros(const std::string& name, int64_t size, Writer& writer) {
  writer.add_tensor(name, {size}, Type::kF32, [size](const Writer::Sink& sink) {
    const std::string zeros(static_cast<size_t>(bytes_of(Type::kF32, size)),
                            '\0');
    sink(zeros.data(), zeros.size());
  });
}

// Of attention's matrices that have none.
void add_zero_biases(const TensorTable& table, const ModelConfig& config,
                     Writer& writer) {
  for (const TensorSpec& spec : table) {
    const bool lacks = (spec.part == Part::kQkv && !config.qkv_bias) ||
                       (spec.part == Part::kO && !config.o_bias);
    if (!lacks) continue;
    add_zeros(fmt::format("blk.{}.{}.bias", spec.layer, name_of(spec.part)),
              spec.shape().front(), writer);
  }
}

}  // namespace

void add_tensors(const SourceModel& model, const Architecture& architecture,
                 Type type, Writer& writer) {
  const ModelConfig& config = model.config;
  const auto produce = [&model, &architecture](std::vector<TensorSpec> specs,
                                               Type stored) {
    return [&model, &architecture, specs = std::move(specs),
            stored](const Writer::Sink& sink) {
      for (const TensorSpec& spec : specs) {
        const std::string bytes =
            encode(in_order(model.tensor(spec.name), spec.part, architecture,
                            model.config.head_dim),
                   stored);
        sink(bytes.data(), bytes.size());
        model.release();
      }
    };
  };
  std::map<std::string, std::vector<TensorSpec>> experts;
  const TensorTable table = tensor_table(config);
  for (const TensorSpec& spec : table) {
    if (spec.expert >= 0) experts[name_of(spec)].push_back(spec);
  }
  for (const TensorSpec& spec : table) {
    const Type stored = type_of(spec, type);
    const std::string name = name_of(spec);
    std::vector<int64_t> shape = spec.shape();
    if (spec.expert < 0) {
      // A single output is a row of its own.
      if (spec.part == Part::kSharedGate) shape = {shape.back()};
      writer.add_tensor(name, shape, stored, produce({spec}, stored));
    } else if (spec.expert == 0) {
      shape.insert(shape.begin(), config.num_experts);
      writer.add_tensor(name, shape, stored, produce(experts[name], stored));
    }
  }
  if (config.tie_word_embeddings && !architecture.takes_tied_head) {
    const Type stored = type_of(table.front(), type);
    writer.add_tensor(std::string(kHead), table.front().shape(), stored,
                      produce({table.front()}, stored));
  }
  if (architecture.needs_biases) add_zero_biases(table, config, writer);
  if (config.rope_scaling.type == RopeScaling::Type::kLlama3) {
    const std::string bytes = encode(rope_factors(config), Type::kF32);
    writer.add_tensor(std::string(kRopeFactors), {config.rotary_dim() / 2},
                      Type::kF32, [bytes](const Writer::Sink& sink) {
                        sink(bytes.data(), bytes.size());
                      });
  }
}

}  // namespace annuli::gguf
