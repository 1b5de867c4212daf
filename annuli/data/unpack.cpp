#include "annuli/data/unpack.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "annuli/core/error.h"

namespace annuli::data {
namespace {

class PlainSource : public ByteSource {
 public:
  explicit PlainSource(const fs::path& path)
      : path_(path), file_(std::fopen(path.c_str(), "rbe"), &std::fclose) {
    if (!file_) fail();
  }

  size_t read(char* data, size_t size) override {
    const size_t got = std::fread(data, 1, size, file_.get());
    if (got < size && std::ferror(file_.get())) fail();
    return got;
  }

 private:
  [[noreturn]] void fail() const {
    user_error("reading {}: {}", path_.string(), std::strerror(errno));
  }

  fs::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

// The packed bytes that wait for a decoder.
class PackedInput {
 public:
  explicit PackedInput(const fs::path& path) : path_(path), source_(path) {}

  // What waits, after a read if it was nothing; empty at the end of the file.
  std::string_view waiting() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = source_.read(buffer_.data(), buffer_.size());
      read_ += end_;
    }
    return {buffer_.data() + begin_, end_ - begin_};
  }
  void take(size_t bytes) { begin_ += bytes; }
  size_t position() const { return read_ - (end_ - begin_); }

  [[noreturn]] void refuse(std::string_view reason) const {
    user_error("reading {}: {}; the file is damaged or cut short",
               path_.string(), reason);
  }
  [[noreturn]] void refuse_rest(std::string_view packing,
                                const char* command) const {
    user_error(
        "reading {}: its {} data ends at byte {}, and what follows is none; "
        "try: {} {} > NEW, if what stands before it is all",
        path_.string(), packing, position(), command, path_.string());
  }

 private:
  fs::path path_;
  PlainSource source_;
  std::vector<char> buffer_ = std::vector<char>(1 << 18);
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t read_ = 0;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(const fs::path& path) : input_(path) {
    constexpr int kGzipOnly = 16;
    ANNULI_CHECK(::inflateInit2(&stream_, kGzipOnly + MAX_WBITS) == Z_OK,
                 "zlib does not begin");
  }
  ~GzipSource() override { ::inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  size_t read(char* data, size_t size) override {
    stream_.next_out = reinterpret_cast<Bytef*>(data);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out > 0 && (in_member_ || begin_member())) inflate();
    return size - stream_.avail_out;
  }

 private:
  // False at the end of the file.
  bool begin_member() {
    while (true) {
      const std::string_view waiting = input_.waiting();
      if (waiting.empty()) return false;
      if (!after_member_) break;
      const size_t zeros =
          std::min(waiting.find_first_not_of('\0'), waiting.size());
      input_.take(zeros);
      if (zeros == waiting.size()) continue;
      if (waiting[zeros] != '\x1f') input_.refuse_rest("gzip", "zcat");
      break;
    }
    in_member_ = true;
    return true;
  }

  void inflate() {
    const std::string_view waiting = input_.waiting();
    stream_.next_in =
        reinterpret_cast<Bytef*>(const_cast<char*>(waiting.data()));
    stream_.avail_in = static_cast<uInt>(waiting.size());
    const uInt room = stream_.avail_out;
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    if (code == Z_DATA_ERROR && after_member_ && stream_.total_out == 0) {
      input_.refuse_rest("gzip", "zcat");
    }
    if (waiting.empty() && stream_.avail_out == room && code != Z_STREAM_END) {
      input_.refuse("unexpected end of file");
    }
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      input_.refuse(stream_.msg != nullptr ? stream_.msg : "no gzip data");
    }
    input_.take(waiting.size() - stream_.avail_in);
    if (code != Z_STREAM_END) return;
    in_member_ = false;
    after_member_ = true;
    ::inflateReset(&stream_);
  }

  PackedInput input_;
  z_stream stream_ = {};
  bool in_member_ = false;
  bool after_member_ = false;
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(const fs::path& path)
      : input_(path), stream_(::ZSTD_createDStream(), &::ZSTD_freeDStream) {
    ANNULI_CHECK(stream_ != nullptr, "zstd does not begin");
  }

  size_t read(char* data, size_t size) override {
    ZSTD_outBuffer out = {data, size, 0};
    while (out.pos < out.size && unpack(out)) {
    }
    return out.pos;
  }

 private:
  // False at the end of the file.
  bool unpack(ZSTD_outBuffer& out) {
    const std::string_view waiting = input_.waiting();
    if (waiting.empty() && !in_frame_) return false;
    ZSTD_inBuffer in = {waiting.data(), waiting.size(), 0};
    const size_t before = out.pos;
    const size_t result = ::ZSTD_decompressStream(stream_.get(), &out, &in);
    if (::ZSTD_isError(result)) {
      if (!in_frame_ && after_frame_) input_.refuse_rest("zstd", "zstdcat");
      input_.refuse(::ZSTD_getErrorName(result));
    }
    if (waiting.empty() && out.pos == before && result != 0) {
      input_.refuse("unexpected end of file");
    }
    input_.take(in.pos);
    in_frame_ = result != 0;
    after_frame_ = after_frame_ || !in_frame_;
    return true;
  }

  PackedInput input_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  bool in_frame_ = false;
  bool after_frame_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_plain(const fs::path& path) {
  return std::make_unique<PlainSource>(path);
}

std::unique_ptr<ByteSource> unpack_gzip(const fs::path& path) {
  return std::make_unique<GzipSource>(path);
}

std::unique_ptr<ByteSource> unpack_zstd(const fs::path& path) {
  return std::make_unique<ZstdSource>(path);
}

}  // namespace annuli::data
