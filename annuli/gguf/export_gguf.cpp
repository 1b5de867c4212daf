#include "annuli/gguf/export_gguf.h"

#include <fstream>
#include <string>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/gguf/architecture.h"
#include "annuli/gguf/model_tensors.h"
#include "annuli/gguf/vocabulary.h"

namespace annuli::gguf {
namespace {

// The first key, which llama.cpp passes over.
constexpr std::string_view kOurs = "annuli.format_version";
constexpr uint32_t kFormatVersion = 1;

// llama.cpp's number of a file whose matrices have this type.
uint32_t file_type(Type type) {
  switch (type) {
    case Type::kF32:
      return 0;
    case Type::kF16:
      return 1;
    case Type::kQ8_0:
      return 7;
    case Type::kBf16:
      return 32;
    default:
      break;
  }
  ANNULI_CHECK(false, "no file is written of {}", traits_of(type).name);
}

std::string name_of(const fs::path& path) {
  const fs::path plain = path.filename().empty() ? path.parent_path() : path;
  return plain.extension() == ".pt" ? plain.stem() : plain.filename();
}

}  // namespace

Type type_from_flag(std::string_view word) {
  if (word == "f32") return Type::kF32;
  if (word == "f16") return Type::kF16;
  if (word == "bf16") return Type::kBf16;
  if (word == "q8_0") return Type::kQ8_0;
  user_error("--dtype: found {}, expected f32, f16, bf16 or q8_0 for GGUF",
             word);
}

void export_gguf(const ExportOrder& order, const fs::path& path) {
  const SourceModel& model = order.model;
  const Architecture& architecture =
      architecture_of(model.config, model.config_json.value("model_type", ""),
                      "exporting " + model.path.string());
  Writer writer;
  writer.add(kOurs, kFormatVersion);
  writer.add(kConfigKey, model.config_json.dump());
  writer.add("general.architecture", architecture.name);
  writer.add("general.type", "model");
  writer.add("general.name", name_of(model.path));
  writer.add("general.file_type", file_type(order.type));
  writer.add("general.quantization_version", uint32_t{2});
  add_shape(architecture, model.config, writer);
  add_vocabulary(order.tokenizer, model.config.vocab_size,
                 model.is_folder ? model.path : fs::path(), writer);
  add_tensors(model, architecture, order.type, writer);
  writer.write(path);
}

bool is_ours(const fs::path& path) {
  constexpr size_t kFirstKey = 32;  // behind magic, version, counts, its length
  std::string start(kFirstKey + kOurs.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), std::ssize(start));
  return start.starts_with("GGUF") && start.ends_with(kOurs);
}

}  // namespace annuli::gguf
