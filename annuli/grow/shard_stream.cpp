#include "annuli/grow/shard_stream.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/core/error.h"
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

// Writes the files. The sync of a full one waits beside the writing of the
// next.
class ShardFiles {
 public:
  ShardFiles(fs::path folder, const Metadata& metadata)
      : folder_(std::move(folder)), metadata_(metadata) {}

  void begin(const Shard& shard) {
    writer_.post([this, &shard] {
      file_ = std::make_shared<SafetensorsWriter>(folder_ / shard.file,
                                                  shard.entries, metadata_);
    });
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
  std::shared_ptr<SafetensorsWriter> file_;
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

}  // namespace

std::vector<std::string> write_shards(const fs::path& folder,
                                      const std::vector<Shard>& shards,
                                      const Metadata& metadata,
                                      const RowsOf& rows_of,
                                      Progress& progress) {
  size_t tensors = 0;
  for (const Shard& shard : shards) tensors += shard.entries.size();
  BufferPool pool(kPieces, static_cast<size_t>(piece_bytes(shards)));
  TensorHashers hashers(tensors);
  ShardFiles files(folder, metadata);
  size_t index = 0;
  for (const Shard& shard : shards) {
    files.begin(shard);
    for (const TensorEntry& entry : shard.entries) {
      const RowMaker maker = rows_of(index);
      ANNULI_CHECK(maker.rows() * maker.row_bytes() == entry.bytes,
                   "{} is {} rows of {} bytes, its entry has {} bytes",
                   entry.name, maker.rows(), maker.row_bytes(), entry.bytes);
      hashers.begin(index, entry);
      const int64_t step = std::max<int64_t>(
          1, static_cast<int64_t>(pool.bytes()) / maker.row_bytes());
      for (int64_t row = 0; row < maker.rows(); row += step) {
        const int64_t end = std::min(row + step, maker.rows());
        const int64_t bytes = (end - row) * maker.row_bytes();
        std::shared_ptr<std::byte> piece = pool.take();
        files.check();
        maker.make(row, end, piece.get());
        hashers.update(piece, bytes);
        files.write(std::move(piece), bytes);
        progress.advance(bytes);
      }
      hashers.end(index++);
    }
    files.end();
  }
  std::vector<std::string> hashes = hashers.finish();
  files.finish();
  return hashes;
}

}  // namespace annuli::grow
