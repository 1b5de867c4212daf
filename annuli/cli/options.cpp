#include "annuli/cli/options.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <charconv>

#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/core/tokenizer_place.h"

namespace annuli::cli {

CLI::Validator whole_number_from(int64_t least) {
  const auto check = [least](const std::string& text) -> std::string {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec == std::errc() && parsed.ptr == end && value >= least) {
      return "";
    }
    return fmt::format("found '{}', expected a whole number from {} on", text,
                       least);
  };
  return CLI::Validator(check, "");
}

void add_dtype(CLI::App& command, std::string& dtype) {
  command
      .add_option("--dtype", dtype,
                  "Number type to compute in (default: that of the file)")
      ->check(CLI::IsMember({"f32", "f64"}));
}

std::optional<at::ScalarType> parse_dtype(const std::string& dtype) {
  if (dtype == "f32") return at::kFloat;
  if (dtype == "f64") return at::kDouble;
  return std::nullopt;
}

void add_tokenizer(CLI::App& command, std::string& tokenizer) {
  command.add_option("--tokenizer", tokenizer,
                     tokenizer_kinds() + " (default: the model's own)");
}

const char* const kTextHelp =
    "Files, folders or globs of .txt, .jsonl and .parquet, the first two also "
    "as .gz or .zst";

void add_text_column(CLI::App& command, std::string& column) {
  command
      .add_option("--text-column", column,
                  "Field of a JSON line, or column of a Parquet file, that "
                  "holds the text")
      ->capture_default_str();
}

void add_memory_limit(CLI::App& command, std::string& limit) {
  command.add_option("--memory-limit", limit,
                     "Refuse a plan that needs more memory than this, for "
                     "example 16GB or 800MiB");
}

std::optional<int64_t> parse_memory_limit(const std::string& limit) {
  if (limit.empty()) return std::nullopt;
  const auto bytes = parse_bytes(limit);
  if (!bytes) {
    user_error("--memory-limit: found '{}', expected a size like 16GB", limit);
  }
  return bytes;
}

void add_allow(CLI::App& command, std::vector<std::string>& allow) {
  command
      .add_option("--allow", allow,
                  fmt::format("A check whose failure is only a warning, one of "
                              "{}; may be given several times",
                              fmt::join(check_names(), ", ")))
      ->allow_extra_args(false)
      ->check(CLI::IsMember(check_names()))
      ->option_text("CHECK ...");
}

void add_loss_budget(CLI::App& command, std::optional<double>& budget) {
  command.add_option(
      "--loss-budget", budget,
      "Rise of the loss, in nats, that growth which is not exact may cause "
      "(default: as much as its operator states)");
}

}  // namespace annuli::cli
