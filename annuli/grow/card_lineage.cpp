#include "annuli/grow/card_lineage.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "annuli/core/markdown.h"
#include "annuli/grow/registry.h"

namespace annuli::grow {
namespace {

// "factor 2, noise_snr_db 10": the options that are set.
std::string options_in_words(const Json& arguments) {
  if (!arguments.is_object()) return markdown_code(arguments.dump());
  std::vector<std::string> words;
  for (const auto& [key, value] : arguments.items()) {
    if (value.is_null() || value == Json::array()) continue;
    words.push_back(
        key + " " +
        (value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return markdown_code(fmt::format("{}", fmt::join(words, ", ")));
}

std::string proof_in_words(const LineageRecord& record) {
  if (record.verdicts.empty()) return "It was not proved.";
  int64_t passed = 0;
  for (const Json& verdict : record.verdicts) {
    passed += verdict.value("passed", false) ? 1 : 0;
  }
  return fmt::format("{} of {} checks passed.", passed, record.verdicts.size());
}

std::string short_hash(const std::string& hash) {
  return markdown_code(hash.substr(0, 12));
}

std::string number(const Json& arguments, const char* key) {
  const Json value = arguments.value(key, Json());
  return value.is_number() ? value.dump() : "?";
}

std::string sentence_of(const LineageRecord& record) {
  if (record.op == "initialize") {
    return fmt::format("It began with random weights (seed {}).", record.seed);
  }
  if (record.op == "train") {
    return fmt::format(
        "It was trained for {} steps of {} windows at a learning "
        "rate of {}.",
        number(record.arguments, "max_steps"),
        number(record.arguments, "batch_size"),
        number(record.arguments, "learning_rate"));
  }
  if (record.op == "edit") return "Another program changed its weights.";
  if (record.op == "export") {
    return fmt::format("It was written in another form: {}.",
                       options_in_words(record.arguments));
  }
  if (!is_operator(record.op)) return markdown_code(record.op) + ".";
  return fmt::format(
      "It was grown by {} with {}. This keeps {}. {}", markdown_code(record.op),
      options_in_words(record.arguments), find_operator(record.op).preserves,
      proof_in_words(record));
}

std::string outcome_of(const Json& verdict) {
  if (verdict.value("passed", false)) return "passed";
  return verdict.value("is_advice", false) ? "warning" : "failed, allowed";
}

}  // namespace

std::string lineage_in_sentences(const Lineage& lineage) {
  std::string list;
  int64_t number = 1;
  if (!lineage.empty() && !lineage.front().parent.empty()) {
    list += fmt::format("{}. It began as the model with the content hash {}.\n",
                        number++, short_hash(lineage.front().parent));
  }
  for (const LineageRecord& record : lineage) {
    list += fmt::format("{}. {} Content hash {}.\n", number++,
                        sentence_of(record), short_hash(record.child));
  }
  return list;
}

std::string verdicts_in_words(const Lineage& lineage) {
  const auto last = std::find_if(
      lineage.rbegin(), lineage.rend(),
      [](const LineageRecord& record) { return is_operator(record.op); });
  if (last == lineage.rend()) return "";
  if (last->verdicts.empty()) return "The growth was not proved.\n";
  std::vector<std::vector<std::string>> rows = {
      {"check", "what was measured", "measured", "limit", "outcome"}};
  for (const Json& verdict : last->verdicts) {
    rows.push_back(
        {markdown_text(verdict.value("check", "")),
         markdown_text(verdict.value("aspect", "")),
         number_or_dash(verdict, "measured", "{:.3g}"),
         (verdict.value("at_least", false) ? "at least " : "at most ") +
             number_or_dash(verdict, "limit", "{:.3g}"),
         outcome_of(verdict)});
  }
  return markdown_table(rows);
}

}  // namespace annuli::grow
