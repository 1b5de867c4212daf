#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/tokenizer/base64.h"
#include "annuli/tokenizer/normalizer_steps.h"
#include "annuli/tokenizer/precompiled.h"

namespace annuli {
namespace {

class PrecompiledStep final : public NormalizerStep {
 public:
  explicit PrecompiledStep(std::string_view rules)
      : rules_(rules), hash_(sha256_of(rules)) {}
  void append(std::string_view text, std::string& out) const override {
    rules_.append(text, out);
  }
  std::string description() const override { return "precompiled " + hash_; }

 private:
  PrecompiledNormalizer rules_;
  std::string hash_;
};

}  // namespace

NormalizerStepPointer precompiled_step(std::string_view base64) {
  const auto rules = decode_base64(base64);
  if (!rules) {
    user_error(
        "found a precompiled_charsmap that is no base64, expected the "
        "normalization rules in it");
  }
  return std::make_unique<PrecompiledStep>(*rules);
}

}  // namespace annuli
