#include "annuli/grow/shard_stream.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/safetensors_filler.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/worker.h"

namespace annuli::grow {
namespace {

constexpr int64_t kPieceBytes = int64_t{8} << 20;
constexpr size_t kPieces = 8;  // in flight: made, waiting, being written
constexpr int kMaxHashers = 4;

// The longest row must fit into a piece.
int64_t piece_bytes(const std::vector<Shard>& shards) {
  int64_t bytes = kPieceBytes;
  for (const Shard& shard : shards) {
    for (const TensorEntry& entry : shard.entries) {
      const int64_t rows = entry.shape.size() == 2 ? entry.shape[0] : 1;
      bytes = std::max(bytes, entry.bytes / std::max<int64_t>(1, rows));
    }
  }
  return bytes;
}

// One file, of which all tensors come in their order, or some.
class ShardFile {
 public:
  virtual ~ShardFile() = default;
  virtual void begin(size_t tensor) = 0;
  virtual void append(const void* data, int64_t bytes) = 0;
  virtual void finish() = 0;
};

class WholeFile : public ShardFile {
 public:
  WholeFile(const fs::path& path, const Shard& shard, const Metadata& metadata)
      : writer_(path, shard.entries, metadata) {}
  void begin(size_t) override {}
  void append(const void* data, int64_t bytes) override {
    writer_.append(data, bytes);
  }
  void finish() override { writer_.finish(); }

 private:
  SafetensorsWriter writer_;
};

class SharedFile : public ShardFile {
 public:
  SharedFile(const fs::path& path, const Shard& shard)
      : filler_(path, shard.entries) {}
  void begin(size_t tensor) override { filler_.begin(tensor); }
  void append(const void* data, int64_t bytes) override {
    filler_.append(data, bytes);
  }
  void finish() override { filler_.finish(); }

 private:
  SafetensorsFiller filler_;
};

// Writes the files. The sync of a full one waits beside the writing of the
// next.
class ShardFiles {
 public:
  // `shared`: they were laid out, and others fill them too.
  ShardFiles(fs::path folder, const Metadata& metadata, bool shared)
      : folder_(std::move(folder)), metadata_(metadata), shared_(shared) {}

  void begin(const Shard& shard) {
    writer_.post([this, &shard] {
      const fs::path path = folder_ / shard.file;
      if (shared_) {
        file_ = std::make_shared<SharedFile>(path, shard);
      } else {
        file_ = std::make_shared<WholeFile>(path, shard, metadata_);
      }
    });
  }
  void begin_tensor(size_t index) {
    writer_.post([this, index] { file_->begin(index); });
  }
  void write(std::shared_ptr<std::byte> piece, int64_t bytes) {
    writer_.post([this, piece = std::move(piece), bytes] {
      file_->append(piece.get(), bytes);
    });
  }
  void end() {
    writer_.post([this] {
      syncer_.post([file = std::exchange(file_, nullptr)] { file->finish(); });
    });
  }
  void check() {
    writer_.check();
    syncer_.check();
  }
  void finish() {
    writer_.finish();
    syncer_.finish();
  }

 private:
  fs::path folder_;
  Metadata metadata_;
  bool shared_;
  std::shared_ptr<ShardFile> file_;
  Worker syncer_;
  Worker writer_;
};

// Hashes tensors on several threads, each tensor on one of them.
class TensorHashers {
 public:
  explicit TensorHashers(size_t tensors) : hashes_(tensors) {
    const int threads = std::clamp(at::get_num_threads() / 2, 1, kMaxHashers);
    for (int i = 0; i < threads; ++i) {
      workers_.push_back(std::make_unique<Worker>());
    }
  }

  void begin(size_t index, const TensorEntry& entry) {
    worker_ = workers_[index % workers_.size()].get();
    hash_ = std::make_shared<TensorHash>(entry);
  }
  void update(std::shared_ptr<std::byte> piece, int64_t bytes) {
    worker_->post([hash = hash_, piece = std::move(piece), bytes] {
      hash->update(piece.get(), bytes);
    });
  }
  void end(size_t index) {
    worker_->post([this, hash = std::move(hash_), index] {
      hashes_[index] = hash->hex();
    });
  }
  std::vector<std::string> finish() {
    for (const auto& worker : workers_) worker->finish();
    return std::move(hashes_);
  }

 private:
  std::vector<std::string> hashes_;
  std::shared_ptr<TensorHash> hash_;
  Worker* worker_ = nullptr;
  std::vector<std::unique_ptr<Worker>> workers_;
};

// Makes tensors and hands their pieces to who writes and who hashes.
class TensorPieces {
 public:
  TensorPieces(const std::vector<Shard>& shards, ShardFiles& files,
               TensorHashers& hashers, Progress& progress)
      : pool_(kPieces, static_cast<size_t>(piece_bytes(shards))),
        files_(files),
        hashers_(hashers),
        progress_(progress) {}

  void make(const RowMaker& maker) {
    const int64_t step = std::max<int64_t>(
        1, static_cast<int64_t>(pool_.bytes()) / maker.row_bytes());
    for (int64_t row = 0; row < maker.rows(); row += step) {
      const int64_t end = std::min(row + step, maker.rows());
      const int64_t bytes = (end - row) * maker.row_bytes();
      std::shared_ptr<std::byte> piece = pool_.take();
      files_.check();
      maker.make(row, end, piece.get());
      hashers_.update(piece, bytes);
      files_.write(std::move(piece), bytes);
      progress_.advance(bytes);
    }
  }

 private:
  BufferPool pool_;
  ShardFiles& files_;
  TensorHashers& hashers_;
  Progress& progress_;
};

void lay_out(const fs::path& folder, const std::vector<Shard>& shards,
             const Metadata& metadata, parallel::ProcessGroup& group) {
  if (group.is_first()) {
    for (const Shard& shard : shards) {
      lay_out_safetensors(folder / shard.file, shard.entries, metadata);
    }
  }
  group.barrier();
}

}  // namespace

std::vector<int64_t> makers_of(const std::vector<Shard>& shards,
                               int64_t processes) {
  std::vector<int64_t> makers;
  std::vector<int64_t> bytes(processes, 0);
  for (const Shard& shard : shards) {
    for (const TensorEntry& entry : shard.entries) {
      const auto least = std::ranges::min_element(bytes);
      *least += entry.bytes;
      makers.push_back(least - bytes.begin());
    }
  }
  return makers;
}

std::vector<std::string> of_all_makers(parallel::ProcessGroup& group,
                                       const std::vector<std::string>& own) {
  std::vector<std::string> all = own;
  for (const std::string& given : group.gather(Json(own).dump())) {
    const Json texts = Json::parse(given);
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].empty()) all[i] = texts.at(i);
    }
  }
  return all;
}

std::vector<std::string> write_shards(const fs::path& folder,
                                      const std::vector<Shard>& shards,
                                      const Metadata& metadata,
                                      const RowsOf& rows_of, Progress& progress,
                                      parallel::ProcessGroup& group) {
  const bool shared = group.size() > 1;
  const std::vector<int64_t> makers = makers_of(shards, group.size());
  if (shared) lay_out(folder, shards, metadata, group);
  TensorHashers hashers(makers.size());
  ShardFiles files(folder, metadata, shared);
  TensorPieces pieces(shards, files, hashers, progress);
  size_t index = 0;
  for (const Shard& shard : shards) {
    files.begin(shard);
    for (size_t i = 0; i < shard.entries.size(); ++i, ++index) {
      if (makers[index] != group.rank()) continue;
      const TensorEntry& entry = shard.entries[i];
      const RowMaker maker = rows_of(index);
      ANNULI_CHECK(maker.rows() * maker.row_bytes() == entry.bytes,
                   "{} is {} rows of {} bytes, its entry has {} bytes",
                   entry.name, maker.rows(), maker.row_bytes(), entry.bytes);
      files.begin_tensor(i);
      hashers.begin(index, entry);
      pieces.make(maker);
      hashers.end(index);
    }
    files.end();
  }
  const std::vector<std::string> hashes = hashers.finish();
  files.finish();
  return of_all_makers(group, hashes);
}

}  // namespace annuli::grow
