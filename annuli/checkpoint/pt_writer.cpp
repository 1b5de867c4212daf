#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <tuple>
#include <utility>

#include "annuli/checkpoint/pt_file.h"
#include "annuli/core/error.h"
#include "annuli/core/progress.h"

namespace annuli {
namespace {

using c10::IValue;

c10::impl::GenericDict new_dict() {
  return c10::impl::GenericDict(c10::StringType::get(), c10::AnyType::get());
}

IValue to_ivalue(const Json& json) {
  switch (json.type()) {
    case Json::value_t::object: {
      auto dict = new_dict();
      for (const auto& [key, value] : json.items()) {
        dict.insert(key, to_ivalue(value));
      }
      return dict;
    }
    case Json::value_t::array: {
      c10::impl::GenericList list(c10::AnyType::get());
      for (const Json& value : json) list.push_back(to_ivalue(value));
      return list;
    }
    case Json::value_t::string:
      return json.get<std::string>();
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      if (!fits_in<int64_t>(json)) return json.dump();
      return json.get<int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    default:
      return {};
  }
}

// The storages of the file: each distinct stretch of memory once.
//
// The pickle is made of stand-ins: tensors with the right type, shape and
// storage size but without data. Only identity and sizes reach the pickle, and
// a stand-in's storage is exactly as long as its tensor, whatever arena or
// device the tensor lives in.
class Storages {
 public:
  // Of tensor `i`, which lies at `place`.
  at::Tensor stand_in(size_t i, const TensorEntry& entry, uintptr_t place) {
    dtype_name(entry.dtype);
    const auto key = std::tuple(place, entry.bytes, entry.dtype);
    auto found = storages_.find(key);
    if (found == storages_.end()) {
      const c10::Storage storage(c10::Storage::use_byte_size_t(), entry.bytes,
                                 at::DataPtr(nullptr, at::kCPU), nullptr,
                                 false);
      found = storages_.emplace(key, storage).first;
      tensors_.push_back(i);
    }
    const auto options = at::TensorOptions().dtype(entry.dtype);
    at::Tensor result = at::empty({0}, options);
    result.unsafeGetTensorImpl()->set_storage_keep_dtype(found->second);
    result.unsafeGetTensorImpl()->set_sizes_contiguous(entry.shape);
    return result;
  }

  // Which tensor each holds, in the order in which the pickle numbers them.
  const std::vector<size_t>& tensors() const { return tensors_; }

 private:
  std::map<std::tuple<uintptr_t, int64_t, at::ScalarType>, c10::Storage>
      storages_;
  std::vector<size_t> tensors_;
};

std::string pickle(const IValue& value, size_t storages) {
  std::string bytes;
  torch::jit::Pickler pickler(
      [&](const char* data, size_t size) { bytes.append(data, size); }, nullptr,
      nullptr, nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(value);
  pickler.stop();
  ANNULI_CHECK(pickler.tensorData().size() == storages,
               "{} storages in the pickle, {} to write",
               pickler.tensorData().size(), storages);
  return bytes;
}

// PyTorch's zip writer finishes the archive in its destructor and may not
// throw there. So a failed write is kept, the rest of the archive goes
// nowhere, and `commit` reports it.
class ArchiveFile {
 public:
  explicit ArchiveFile(const fs::path& path) : file_(path) {}

  size_t write(const void* data, size_t size) noexcept {
    try {
      if (!failure_) file_.write(data, size);
    } catch (...) {
      failure_ = std::current_exception();
    }
    return size;
  }

  void commit() {
    if (failure_) std::rethrow_exception(failure_);
    file_.commit();
  }

 private:
  AtomicFile file_;
  std::exception_ptr failure_;
};

// `place(i)` is the same number for tensors that share their memory.
void write_tensors(const fs::path& path, const TensorsToRead& tensors,
                   const std::function<uintptr_t(size_t i)>& place,
                   const Json& config, const Json& extra) {
  ANNULI_CHECK(config.is_object() && extra.is_object(),
               "config and extra are objects");
  Storages storages;
  auto model = new_dict();
  for (size_t i = 0; i < tensors.entries.size(); ++i) {
    const TensorEntry& entry = tensors.entries[i];
    ANNULI_CHECK(!model.contains(entry.name), "two tensors named {}",
                 entry.name);
    model.insert(entry.name, storages.stand_in(i, entry, place(i)));
  }
  auto root = new_dict();
  root.insert("format_version", kPtFormatVersion);
  root.insert("config", to_ivalue(config));
  for (const auto& [key, value] : extra.items()) {
    ANNULI_CHECK(!root.contains(key) && key != "model", "extra has '{}'", key);
    root.insert(key, to_ivalue(value));
  }
  root.insert("model", model);
  const std::string data = pickle(root, storages.tensors().size());

  ArchiveFile file(path);
  {
    caffe2::serialize::PyTorchStreamWriter writer(
        [&](const void* bytes, size_t size) {
          return file.write(bytes, size);
        });
    writer.writeRecord("data.pkl", data.data(), data.size());
    writer.writeRecord("byteorder", "little", 6);
    Progress progress("writing " + path.filename().string(),
                      total_bytes(tensors.entries), ProgressUnit::kBytes);
    for (size_t i = 0; i < storages.tensors().size(); ++i) {
      const at::Tensor tensor =
          tensors.read(storages.tensors()[i]).detach().to(at::kCPU);
      writer.writeRecord("data/" + std::to_string(i), tensor.const_data_ptr(),
                         tensor.nbytes());
      progress.advance(static_cast<int64_t>(tensor.nbytes()));
    }
    writer.writeEndOfFile();
  }
  file.commit();
}

}  // namespace

void write_pt(const fs::path& path, const std::vector<NamedTensor>& tensors,
              const Json& config, const Json& extra) {
  TensorsToRead all{.entries = {},
                    .read = [&](size_t i) { return tensors[i].tensor; }};
  for (const NamedTensor& named : tensors) {
    ANNULI_CHECK(named.tensor.is_contiguous(), "{} is a strided view",
                 named.name);
    all.entries.push_back(entry_of(named));
  }
  const auto address = [&](size_t i) {
    return reinterpret_cast<uintptr_t>(tensors[i].tensor.const_data_ptr());
  };
  write_tensors(path, all, address, config, extra);
}

void write_pt_of(const fs::path& path, const TensorsToRead& tensors,
                 const Json& config, const Json& extra) {
  const auto number = [](size_t i) { return static_cast<uintptr_t>(i); };
  write_tensors(path, tensors, number, config, extra);
}

}  // namespace annuli
