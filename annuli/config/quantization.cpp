#include "annuli/config/quantization.h"

#include <fmt/core.h>

#include <map>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

// transformers' ways back to plain weights while a model is loaded.
std::string way_back(std::string_view method) {
  static const std::map<std::string_view, const char*> kWays = {
      {"fp8", "FineGrainedFP8Config(dequantize=True)"},
      {"mxfp4", "Mxfp4Config(dequantize=True)"},
      {"compressed-tensors", "CompressedTensorsConfig(dequantize=True)"}};
  if (method == "bitsandbytes") {
    return ", or load it with transformers, call model.dequantize() and save "
           "it";
  }
  const auto found = kWays.find(method);
  if (found == kWays.end()) return "";
  return fmt::format(
      ", or load it with transformers and quantization_config={}, and save it",
      found->second);
}

}  // namespace

std::string quantized(std::string_view why, std::string_view method) {
  return fmt::format(
      "the weights are quantised ({}), expected F64, F32, F16 or BF16; give "
      "the model that they were made from{}",
      why, way_back(method));
}

void refuse_quantization(const Json& config) {
  for (const char* key :
       {"quantization_config", "compression_config", "quantization"}) {
    const Json said = config.value(key, Json());
    if (said.is_null()) continue;
    std::string method;
    if (said.is_object() && said.value("quant_method", Json()).is_string()) {
      method = said["quant_method"].get<std::string>();
    }
    user_error("reading a model's config.json: {}",
               quantized(fmt::format("'{}' is {}", key,
                                     method.empty() ? "set" : quote(method)),
                         method));
  }
}

}  // namespace annuli
