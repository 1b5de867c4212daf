#include "annuli/checkpoint/lineage.h"

#include <torch/headeronly/version.h>

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

LineageRecord record_from_json(const Json& json) {
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
      lineage.push_back(record_from_json(record));
    }
  } catch (const Json::exception& error) {
    user_error("reading the lineage in {}: {}", where, error.what());
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
