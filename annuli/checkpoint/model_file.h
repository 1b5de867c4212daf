#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "annuli/checkpoint/expert_layout.h"
#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/mapped_tensors.h"
#include "annuli/checkpoint/stored_names.h"
#include "annuli/config/model_config.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/model/transformer.h"

// A model on disk, in any form we read:
//   a `.pt` file (pt_file.h),
//   a GGUF file of llama.cpp (gguf_weights.h), or
//   a Hugging Face folder: config.json and weights (weight_files.h);
//   lineage.json if there;
// or one that is in memory, in the words of such a folder (held_tensors.h).
// Weights are F64, F32, F16 or BF16, the experts in any layout
// (expert_layout.h), the names perhaps with what another program put in front
// (stored_names.h). Of a tied pair one is enough, under either name. A notice
// says what was taken off, put in front or passed over.
namespace annuli {

// An opened model: what is in it, no weights read.
class ModelFile {
 public:
  // Whatever find_model (config/model_path.h) understands.
  explicit ModelFile(const fs::path& path);
  // What a folder's config.json and its weights would be.
  ModelFile(Json config_json, std::unique_ptr<MappedTensors> tensors);

  // Where it was found; of a model in memory what its tensors are called.
  const fs::path& path() const { return path_; }
  // "pt", "gguf", "folder", "memory"
  const std::string& format() const { return format_; }
  const Json& config_json() const { return config_json_; }
  const ModelConfig& config() const { return config_; }
  const std::optional<Lineage>& lineage() const { return lineage_; }
  // What else a .pt file says at its top level; an empty object for folders.
  const Json& extra() const { return extra_; }

  // What the files hold, under the names that they use.
  std::vector<TensorEntry> entries() const;
  // Takes what was read out of the resident memory.
  void drop_resident() const;
  // Reads everything; UserError if it is not what a checksum in the file says.
  void check_data() const;

  // A tensor of the config's table, under its name there, whatever the layout
  // in the files: a read-only view of them in the stored type, not always
  // contiguous. UserError if there is none.
  at::Tensor tensor(const std::string& name) const;
  at::ScalarType dtype_of(const std::string& name) const;
  // Which stored tensor, or part of one, that is.
  const StoredPiece& piece_of(const std::string& name) const;
  // The same in memory of its own, contiguous.
  at::Tensor copy(const std::string& name) const;

  // One line per tensor that is missing, unexpected, of the wrong shape or not
  // a floating type; empty if the files hold exactly the config's table. Where
  // the weights are quantised that is the first line. No fault: a tied head
  // that is stored too and equals the embedding up to rounding, the rotary
  // frequencies that old Llama files carry (they follow from config), and
  // biases of zeros that the config does not have.
  std::vector<std::string> faults() const;

 private:
  void open_pt();
  void open_gguf();
  void open_folder();
  void read_config(Json json);
  void locate_tensors();
  const TensorEntry* entry_of_table(const std::string& name) const;
  const MappedTensors* holder_of(const std::string& stored) const;
  std::optional<std::string> fault_beside_table(const TensorEntry& entry) const;
  bool is_bias_of_the_table(const std::string& name) const;

  fs::path path_;
  std::string format_;
  Json config_json_;
  Json extra_ = Json::object();
  ModelConfig config_;
  std::optional<Lineage> lineage_;
  std::vector<std::unique_ptr<MappedTensors>> files_;
  std::unordered_map<std::string, size_t> holder_;  // stored name -> files_
  TensorTable table_;
  StoredNames names_;
  StoredTable stored_;
  std::unordered_map<std::string, size_t> row_;  // name in the table -> row
};

struct LoadOptions {
  // fp32 or fp64; by default the file's, narrower types widened to fp32.
  std::optional<at::ScalarType> dtype;
  at::Device device = at::kCPU;
  // Hold the layers' matrices as codes (model/coded_weights.h), the nearest
  // ones; `dtype` is bf16.
  bool coded = false;
  // Use the file's own pages instead of copies where type and device allow:
  // instant, for reading only. Such weights must never be written to.
  bool mapped = false;
  // Keep every weight as it is stored, mapped and of any type, and widen it
  // each time it is used: the model takes next to no memory of its own, however
  // large it is. Slower than `mapped`, and for forward passes only. `dtype`
  // is then what it computes in.
  bool as_stored = false;
};

// UserError with one line, "DOING FILE: ...", that names the first faulty
// tensor, if there is one.
void require_sound(const ModelFile& file,
                   std::string_view doing = "loading the model");

// One line for each tensor that holds NaN or an infinity, with its first such
// row. Reads all weights.
std::vector<std::string> value_faults(const ModelFile& file);

// UserError, "DOING FILE: ...", with the first of them.
void require_finite(const ModelFile& file, std::string_view doing);

// UserError as above.
Transformer load_model(const ModelFile& file, const LoadOptions& options = {});
Transformer load_model(const fs::path& path, const LoadOptions& options = {});

// Everything `annuli inspect` shows, as JSON: path, format, config,
// resolved_config (class_defaults.h), parameters (total, active), bytes,
// tensors (name, dtype, shape, bytes), faults, those of values too, lineage.
// Reads all weights. UserError if its data are damaged, as far as the file can
// tell.
Json inspect_model(const fs::path& path);

// Both write atomically; a folder's config.json comes last. Where processes
// hold the model in parts all of them call `save_pt`, and the first one writes,
// a tensor at a time. `extra` may add keys beside "model" and "config"; the
// lineage becomes extra["lineage"] in a .pt and lineage.json in a folder.
void save_pt(const Transformer& model, const fs::path& path,
             const Lineage& lineage = {}, Json extra = Json::object());
void save_folder(const Transformer& model, const fs::path& folder,
                 const Lineage& lineage = {});

}  // namespace annuli
