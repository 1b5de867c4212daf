#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/core/json.h"

// How a model came to be: one record per operator, oldest first.
//
// Guarantees of a lineage that was read: the records form a chain, each
// parent being the child before it; the first has no parent if the model began
// at random.
namespace annuli {

struct LineageRecord {
  std::string op;  // "initialize", "train", "upcycle", "widen", ...
  Json arguments = Json::object();
  uint64_t seed = 0;
  std::string parent;  // content hash, "" for a beginning
  // Content hashes of all parents where there are several; `parent` is the
  // first of them.
  std::vector<std::string> parents = {};
  std::string child;               // content hash
  Json tensors = Json::array();    // per child tensor: what it was made of
  Json verdicts = Json::array();   // the proofs
  Json versions = Json::object();  // of program and libraries
  // What a replay needs besides operator, arguments and seed: how the child was
  // stored, and means that were measured on text.
  Json replay = Json::object();

  bool operator==(const LineageRecord&) const = default;
};

using Lineage = std::vector<LineageRecord>;

// "annuli" and "torch" and the versions of this program.
Json program_versions();

// Adds a record; its parent must be the child of the last one (ANNULI_CHECK).
void append(Lineage& lineage, LineageRecord record);

Json to_json(const Lineage& lineage);
// UserError for missing keys, wrong types or a broken chain; `where` names the
// file.
Lineage lineage_from_json(const Json& json, const std::string& where);

void write_lineage(const fs::path& path, const Lineage& lineage);
Lineage read_lineage(const fs::path& path);

}  // namespace annuli
