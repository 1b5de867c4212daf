#include "annuli/checkpoint/lineage.h"

#include <torch/headeronly/version.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr int kFormatVersion = 1;

Json to_json(const LineageRecord& record) {
  Json json = {{"operator", record.op},       {"arguments", record.arguments},
               {"seed", record.seed},         {"parent", record.parent},
               {"child", record.child},       {"tensors", record.tensors},
               {"verdicts", record.verdicts}, {"versions", record.versions}};
  if (!record.parents.empty()) json["parents"] = record.parents;
  if (!record.replay.empty()) json["replay"] = record.replay;
  return json;
}

// What later readers take for granted.
void check_types(const Json& record, const std::string& where) {
  const auto require = [&](bool good, const char* key, const char* expected) {
    if (good) return;
    user_error("reading the lineage in {}: found another '{}', expected {}",
               where, key, expected);
  };
  const auto is_verdict = [](const Json& verdict) {
    return verdict.is_object() && verdict.contains("passed") &&
           verdict["passed"].is_boolean() &&
           verdict.value("check", Json("")).is_string();
  };
  require(record.at("operator").is_string(), "operator", "a name");
  const Json& verdicts = record.at("verdicts");
  const Json& versions = record.at("versions");
  require(record.at("seed").is_number_integer(), "seed", "an integer");
  require(record.at("arguments").is_structured(), "arguments",
          "an object, or the list of a chain");
  require(record.at("tensors").is_array(), "tensors", "a list");
  require(verdicts.is_array() && std::ranges::all_of(verdicts, is_verdict),
          "verdicts", "a list of {\"check\", \"passed\": true or false}");
  require(
      versions.is_object() && std::ranges::all_of(versions, &Json::is_string),
      "versions", "an object of texts");
  require(record.value("replay", Json::object()).is_object(), "replay",
          "an object");
}

LineageRecord record_from_json(const Json& json, const std::string& where) {
  check_types(json, where);
  return {.op = json.at("operator"),
          .arguments = json.at("arguments"),
          .seed = json.at("seed"),
          .parent = json.at("parent"),
          .parents = json.value("parents", std::vector<std::string>()),
          .child = json.at("child"),
          .tensors = json.at("tensors"),
          .verdicts = json.at("verdicts"),
          .versions = json.at("versions"),
          .replay = json.value("replay", Json::object())};
}

}  // namespace

Json program_versions() {
  return {{"annuli", ANNULI_VERSION},
          {"torch", fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR,
                                TORCH_VERSION_MINOR, TORCH_VERSION_PATCH)}};
}

void append(Lineage& lineage, LineageRecord record) {
  ANNULI_CHECK(lineage.empty() || lineage.back().child == record.parent,
               "{} continues {}, the lineage ends with {}", record.op,
               record.parent, lineage.back().child);
  lineage.push_back(std::move(record));
}

Json to_json(const Lineage& lineage) {
  Json records = Json::array();
  for (const LineageRecord& record : lineage) {
    records.push_back(to_json(record));
  }
  return {{"format_version", kFormatVersion}, {"records", records}};
}

Lineage lineage_from_json(const Json& json, const std::string& where) {
  Lineage lineage;
  try {
    if (json.at("format_version") != kFormatVersion) {
      user_error("reading the lineage in {}: format_version {}, expected {}",
                 where, json.at("format_version").dump(), kFormatVersion);
    }
    for (const Json& record : json.at("records")) {
      lineage.push_back(record_from_json(record, where));
    }
  } catch (const Json::exception& error) {
    user_error("reading the lineage in {}: {}", where, reason_of(error));
  }
  for (size_t i = 1; i < lineage.size(); ++i) {
    if (lineage[i].parent != lineage[i - 1].child) {
      user_error(
          "reading the lineage in {}: record {} ({}) continues {}, but "
          "the record before it ends with {}",
          where, i, lineage[i].op, lineage[i].parent, lineage[i - 1].child);
    }
  }
  return lineage;
}

void write_lineage(const fs::path& path, const Lineage& lineage) {
  write_json(path, to_json(lineage));
}

Lineage read_lineage(const fs::path& path) {
  return lineage_from_json(read_json(path), path.string());
}

}  // namespace annuli
