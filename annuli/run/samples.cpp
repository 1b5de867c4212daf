#include "annuli/run/samples.h"

#include <fmt/core.h>

#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/core/progress.h"
#include "annuli/generate/generate.h"
#include "annuli/generate/text_ids.h"

namespace annuli::run {

void write_samples(const std::filesystem::path& path, const Plan& plan,
                   const Transformer& model, const Tokenizer& tokenizer,
                   const DocumentBorders& borders) {
  std::string text;
  Progress progress("writing samples", 2 * std::ssize(plan.samples.prompts));
  const std::vector<int32_t> never =
      ids_without_token(tokenizer, model.config().vocab_size);
  for (const std::string& prompt : plan.samples.prompts) {
    const std::vector<int32_t> ids =
        prompt_ids(prompt, tokenizer, borders.begin);
    const auto continuation = [&](double temperature) {
      GenerateOptions options;
      options.max_new_tokens = plan.samples.max_new_tokens;
      options.temperature = temperature;
      options.top_k = temperature > 0 ? plan.samples.top_k : 0;
      options.seed = static_cast<uint64_t>(plan.seed);
      options.never_ids = never;
      options.stop_ids = borders.stops;
      const std::vector<int32_t> more = generate(model, ids, options);
      progress.advance();
      return tokenizer.decode(more, prompt.empty());
    };
    text += fmt::format(
        "=== {}\n--- greedy\n{}{}\n--- temperature {}, top-k "
        "{}\n{}{}\n\n",
        prompt, prompt, continuation(0), plan.samples.temperature,
        plan.samples.top_k, prompt, continuation(plan.samples.temperature));
  }
  write_file_atomically(path, text);
}

}  // namespace annuli::run
