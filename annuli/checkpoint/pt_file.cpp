#include "annuli/checkpoint/pt_file.h"

#include <algorithm>
#include <map>
#include <utility>

#include "annuli/checkpoint/pickle_reader.h"
#include "annuli/checkpoint/zip_directory.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

// Pickled before everything else, until 1.6: 0x1950a86a20f9469cfc6c.
void refuse_old_format(std::span<const std::byte> bytes,
                       const std::string& path) {
  constexpr std::string_view kMagic =
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              bytes.size());
  if (!text.starts_with(kMagic)) return;
  user_error(
      "reading {0}: found the format of PyTorch before 1.6, expected that of "
      "torch.save since then; convert it with `python3 -c \"import torch; "
      "torch.save(torch.load('{0}', map_location='cpu', weights_only=True), "
      "'{0}.new')\"` and put the new file in its place",
      path);
}

// PyTorch puts every record into one folder whose name is the writer's choice.
class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {
    refuse_old_format(bytes, path);
    members_ = zip_directory(bytes, path);
    constexpr std::string_view kPickle = "/data.pkl";
    for (const auto& [name, member] : members_) {
      if (name.ends_with(kPickle)) {
        folder_ = name.substr(0, name.size() - kPickle.size() + 1);
        return;
      }
    }
    user_error(
        "reading {}: no data.pkl in it; expected a file written by "
        "annuli or torch.save",
        path);
  }

  const ZipMember* find(const std::string& record) const {
    const auto found = members_.find(folder_ + record);
    return found == members_.end() ? nullptr : &found->second;
  }

  // The bytes of a small record, its checksum checked.
  std::span<const std::byte> read(const std::string& record) const {
    const ZipMember* member = find(record);
    const auto bytes = bytes_.subspan(static_cast<size_t>(member->offset),
                                      static_cast<size_t>(member->bytes));
    if (crc32_of(bytes) != member->crc32) {
      user_error(
          "reading {}: the checksum of {} does not match; the file is "
          "damaged",
          path_, record);
    }
    return bytes;
  }

  void check_byte_order() const {
    if (find("byteorder") == nullptr) return;
    const auto text = read("byteorder");
    const std::string_view order(reinterpret_cast<const char*>(text.data()),
                                 text.size());
    if (order != "little") {
      user_error("reading {}: its byte order is '{}', expected little", path_,
                 order);
    }
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  std::map<std::string, ZipMember> members_;
  std::string folder_;
};

// Strides of sizes 1 and of empty tensors are arbitrary.
bool is_contiguous(const PickleTensor& tensor) {
  if (tensor.strides.size() != tensor.shape.size()) return false;
  if (std::ranges::count(tensor.shape, 0) > 0) return true;
  int64_t expected = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

TensorEntry entry_of(const std::string& name, const PickleTensor& tensor,
                     const Archive& archive, const std::string& path) {
  TensorEntry entry{.name = name, .dtype = tensor.dtype, .shape = tensor.shape};
  const auto bytes = byte_size(tensor.shape, tensor.dtype);
  if (!bytes) {
    user_error("reading {}: tensor '{}' has the impossible shape {}", path,
               name, to_string(tensor.shape));
  }
  entry.bytes = *bytes;
  if (!is_contiguous(tensor)) {
    user_error(
        "reading {}: tensor '{}' of shape {} has strides {}; save it "
        "with .contiguous()",
        path, name, to_string(tensor.shape), to_string(tensor.strides));
  }
  const ZipMember* member = archive.find("data/" + tensor.storage);
  if (member == nullptr) {
    user_error("reading {}: tensor '{}' has no data (record data/{})", path,
               name, tensor.storage);
  }
  const auto width = static_cast<int64_t>(c10::elementSize(tensor.dtype));
  if (member->bytes % width != 0 ||
      member->bytes / width != tensor.storage_numel) {
    user_error(
        "reading {}: tensor '{}' has {} bytes of data, expected {} "
        "elements of {}",
        path, name, member->bytes, tensor.storage_numel,
        dtype_name(tensor.dtype));
  }
  if (tensor.storage_offset < 0 ||
      tensor.storage_offset > tensor.storage_numel ||
      *bytes / width > tensor.storage_numel - tensor.storage_offset) {
    user_error(
        "reading {}: tensor '{}' of shape {} at {} reaches beyond its "
        "{} stored elements",
        path, name, to_string(tensor.shape), tensor.storage_offset,
        tensor.storage_numel);
  }
  entry.offset = member->offset + tensor.storage_offset * width;
  if (entry.bytes == member->bytes) entry.crc32 = member->crc32;
  return entry;
}

std::vector<TensorEntry> entries_of(const PickleDocument& document,
                                    const PickleNode& dict,
                                    const Archive& archive,
                                    const std::string& path) {
  std::vector<TensorEntry> entries;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleNode& name = document.at(dict.items[i]);
    const PickleNode& value = document.at(dict.items[i + 1]);
    if (name.kind != PickleKind::kString || value.kind != PickleKind::kTensor) {
      user_error(
          "reading {}: it holds something that is no named tensor ('{}'), "
          "expected {{name: tensor}}",
          path, name.text);
    }
    const auto& tensor = document.tensors[static_cast<size_t>(value.integer)];
    entries.push_back(entry_of(name.text, tensor, archive, path));
  }
  return entries;
}

const PickleNode& required(const PickleDocument& document,
                           const std::string& key, const std::string& path) {
  const PickleNode* value = document.find(document.at(document.root), key);
  if (value == nullptr || value->kind != PickleKind::kDict) {
    user_error(
        "reading {}: no dict '{}' in it; expected {{\"model\": "
        "{{name: tensor}}, \"config\": {{...}}}}; a state dict alone belongs "
        "into a folder as pytorch_model.bin, beside its config.json",
        path, key);
  }
  return *value;
}

Json read_extra(const PickleDocument& document, const std::string& path) {
  const PickleNode& root = document.at(document.root);
  PickleNode others{.kind = PickleKind::kDict};
  for (size_t i = 0; i < root.items.size(); i += 2) {
    const std::string& key = document.at(root.items[i]).text;
    if (key == "model" || key == "config") continue;
    others.items.insert(others.items.end(), {root.items[i], root.items[i + 1]});
  }
  const Json extra = to_json(document, others, path);
  const Json version = extra.value("format_version", Json(kPtFormatVersion));
  if (!version.is_number_integer() || version != kPtFormatVersion) {
    user_error(
        "reading {}: its format_version is {}, expected {}; was it "
        "written by a newer annuli?",
        path, version.dump(), kPtFormatVersion);
  }
  return extra;
}

}  // namespace

PtFile::PtFile(fs::path file) : MappedTensors(std::move(file)) {
  const std::string path = this->path().string();
  const Archive archive(bytes(), path);
  archive.check_byte_order();
  const PickleDocument document = read_pickle(archive.read("data.pkl"), path);
  const PickleNode& model = required(document, "model", path);
  config_ = to_json(document, required(document, "config", path), path);
  extra_ = read_extra(document, path);
  add_all(entries_of(document, model, archive, path));
}

StateDictFile::StateDictFile(fs::path file) : MappedTensors(std::move(file)) {
  const std::string path = this->path().string();
  const Archive archive(bytes(), path);
  archive.check_byte_order();
  const PickleDocument document = read_pickle(archive.read("data.pkl"), path);
  const PickleNode& root = document.at(document.root);
  if (root.kind != PickleKind::kDict) {
    user_error("reading {}: its pickle is no dict, expected {{name: tensor}}",
               path);
  }
  add_all(entries_of(document, root, archive, path));
}

}  // namespace annuli
