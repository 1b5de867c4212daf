#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/mapped_tensors.h"
#include "annuli/config/model_config.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/model/transformer.h"

// A model on disk, in any form we read:
//   a `.pt` file (pt_file.h), or
//   a Hugging Face folder: config.json and model.safetensors, or shards listed
//   in model.safetensors.index.json; lineage.json if there.
namespace annuli {

// An opened model: what is in it, no weights read.
class ModelFile {
 public:
  explicit ModelFile(const fs::path& path);

  const fs::path& path() const { return path_; }
  const std::string& format() const { return format_; }  // "pt", "folder"
  const Json& config_json() const { return config_json_; }
  const ModelConfig& config() const { return config_; }
  const std::optional<Lineage>& lineage() const { return lineage_; }
  // What else a .pt file says at its top level; an empty object for folders.
  const Json& extra() const { return extra_; }

  std::vector<TensorEntry> entries() const;
  // Where a tensor lies; UserError if nowhere.
  const MappedTensors& file_of(const std::string& name) const;

  // One line per tensor that is missing, unexpected or of the wrong shape;
  // empty if the files hold exactly the config's table. A tied head that is
  // stored as a second name for the embedding is no fault.
  std::vector<std::string> faults() const;

 private:
  void open_pt();
  void open_folder();
  void open_shards(const fs::path& index);

  fs::path path_;
  std::string format_;
  Json config_json_;
  Json extra_ = Json::object();
  ModelConfig config_;
  std::optional<Lineage> lineage_;
  std::vector<std::unique_ptr<MappedTensors>> files_;
};

struct LoadOptions {
  // fp32 or fp64; by default the file's, narrower types widened to fp32.
  std::optional<at::ScalarType> dtype;
  at::Device device = at::kCPU;
  // Use the file's own pages instead of copies where type and device allow:
  // instant, for reading only. Such weights must never be written to.
  bool mapped = false;
};

// UserError with one line that names the first faulty tensor.
Transformer load_model(const ModelFile& file, const LoadOptions& options = {});
Transformer load_model(const fs::path& path, const LoadOptions& options = {});

// Everything `annuli inspect` shows, as JSON: path, format, config, parameters
// (total, active), bytes, tensors (name, dtype, shape, bytes), faults,
// lineage.
Json inspect_model(const fs::path& path);

// Both write atomically; a folder's config.json comes last. `extra` may add
// keys beside "model" and "config"; the lineage becomes extra["lineage"] in a
// .pt and lineage.json in a folder.
void save_pt(const Transformer& model, const fs::path& path,
             const Lineage& lineage = {}, Json extra = Json::object());
void save_folder(const Transformer& model, const fs::path& folder,
                 const Lineage& lineage = {});

}  // namespace annuli
