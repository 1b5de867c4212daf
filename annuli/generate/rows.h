#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace annuli::decoding {

// Rows of floats, one after the other, in memory that only grows.
class Rows {
 public:
  // What was in them is lost.
  void resize(int64_t count, int64_t width) {
    count_ = count;
    width_ = width;
    if (static_cast<int64_t>(data_.size()) < count * width) {
      data_.resize(count * width);
    }
  }
  // The same numbers as rows of another width.
  void reshape(int64_t width) {
    count_ = size() / width;
    width_ = width;
  }
  float* operator[](int64_t row) { return data_.data() + row * width_; }
  const float* operator[](int64_t row) const {
    return data_.data() + row * width_;
  }
  int64_t count() const { return count_; }
  int64_t width() const { return width_; }
  int64_t size() const { return count_ * width_; }

 private:
  std::vector<float> data_;
  int64_t count_ = 0;
  int64_t width_ = 0;
};

// Rows that are used again when nobody refers to them any more: a few serve all
// steps.
class RowsPool {
 public:
  // What is in them is left from before.
  std::shared_ptr<Rows> take(int64_t count, int64_t width) {
    for (const std::shared_ptr<Rows>& rows : rows_) {
      if (rows.use_count() > 1) continue;
      rows->resize(count, width);
      return rows;
    }
    rows_.push_back(std::make_shared<Rows>());
    rows_.back()->resize(count, width);
    return rows_.back();
  }

 private:
  std::vector<std::shared_ptr<Rows>> rows_;
};

}  // namespace annuli::decoding
