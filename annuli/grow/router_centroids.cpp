#include "annuli/grow/router_centroids.h"

#include <ATen/ops/empty.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/parallel.h"
#include "annuli/model/transformer.h"

namespace annuli::grow {
namespace {

constexpr int64_t kTokens = 64;  // per block

double dot(const double* a, const double* b, int64_t D) {
  double sum = 0;
  for (int64_t d = 0; d < D; ++d) sum += a[d] * b[d];
  return sum;
}

// Of length 1; zeros stay.
void normalize(double* row, int64_t D) {
  const double norm = std::sqrt(dot(row, row, D));
  if (norm == 0) return;
  for (int64_t d = 0; d < D; ++d) row[d] /= norm;
}

// Rows of plain memory.
class Matrix {
 public:
  Matrix(int64_t rows, int64_t columns)
      : columns_(columns), entries_(static_cast<size_t>(rows * columns)) {}

  double* operator[](int64_t row) { return entries_.data() + row * columns_; }
  const double* operator[](int64_t row) const {
    return entries_.data() + row * columns_;
  }
  int64_t columns() const { return columns_; }
  int64_t rows() const {
    return static_cast<int64_t>(entries_.size()) / columns_;
  }

 private:
  int64_t columns_;
  std::vector<double> entries_;
};

// Token by token: use(n).
template <typename Use>
void for_tokens(int64_t N, const Use& use) {
  kernels::parallel_blocks(N, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) use(n);
  });
}

// y: without the mean, and without what lies along it.
Matrix centred(const at::Tensor& inputs) {
  const at::Tensor plain = inputs.to(at::kCPU, at::kDouble).contiguous();
  const auto* x = plain.const_data_ptr<double>();
  const int64_t N = plain.size(0);
  const int64_t D = plain.size(1);
  std::vector<double> mean(static_cast<size_t>(D));
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t d = 0; d < D; ++d) mean[d] += x[n * D + d];
  }
  for (double& entry : mean) entry /= static_cast<double>(N);
  std::vector<double> unit = mean;
  normalize(unit.data(), D);
  Matrix y(N, D);
  for_tokens(N, [&](int64_t n) {
    for (int64_t d = 0; d < D; ++d) y[n][d] = x[n * D + d] - mean[d];
    const double along = dot(y[n], unit.data(), D);
    for (int64_t d = 0; d < D; ++d) y[n][d] -= along * unit[d];
  });
  return y;
}

// The clusters of directions, rows of length 1 each.
class Clusters {
 public:
  Clusters(const Matrix& directions, const CentroidOrder& order, int64_t layer)
      : u_(directions),
        rng_(order.seed, fmt::format("grow/centroids/{}", layer)),
        centres_(order.count, directions.columns()),
        nearest_(directions.rows()),
        cosine_(directions.rows(), -1) {}

  Matrix find() {
    draw_first();
    for (int i = 0; i < kIterations; ++i) {
      assign();
      move();
    }
    return std::move(centres_);
  }

 private:
  int64_t N() const { return u_.rows(); }
  int64_t D() const { return u_.columns(); }
  void place(int64_t centre, int64_t token) {
    std::copy_n(u_[token], D(), centres_[centre]);
  }

  // k-means++, of several draws the one that leaves least.
  void draw_first() {
    const auto draws = static_cast<int64_t>(
        2 + std::log(static_cast<double>(centres_.rows())));
    place(0, static_cast<int64_t>(rng_.below(0, N())));
    cosine_ = with_centre(centres_[0]);
    for (int64_t c = 1; c < centres_.rows(); ++c) {
      std::vector<double> best;
      for (int64_t i = 0; i < draws; ++i) {
        const int64_t token = draw(rng_.uniform(c * draws + i));
        std::vector<double> cosines = with_centre(u_[token]);
        if (i > 0 && left(cosines) >= left(best)) continue;
        best = std::move(cosines);
        place(c, token);
      }
      cosine_ = std::move(best);
    }
  }

  // By token the cosine with the nearest centre, this one counted.
  std::vector<double> with_centre(const double* centre) const {
    std::vector<double> cosines = cosine_;
    for_tokens(N(), [&](int64_t n) {
      cosines[n] = std::max(cosines[n], dot(u_[n], centre, D()));
    });
    return cosines;
  }

  static double left(const std::vector<double>& cosines) {
    double sum = 0;
    for (const double cosine : cosines) sum += 1 - cosine;
    return sum;
  }

  // The token at which the sum of distances passes this share of the whole.
  int64_t draw(double share) const {
    const auto distance = [&](int64_t n) {
      return std::max(0.0, 1 - cosine_[n]);
    };
    double whole = 0;
    for (int64_t n = 0; n < N(); ++n) whole += distance(n);
    double sum = 0;
    for (int64_t n = 0; n < N(); ++n) {
      sum += distance(n);
      if (sum > share * whole) return n;
    }
    return N() - 1;
  }

  void assign() {
    for_tokens(N(), [&](int64_t n) {
      cosine_[n] = -std::numeric_limits<double>::infinity();
      for (int64_t c = 0; c < centres_.rows(); ++c) {
        const double cosine = dot(u_[n], centres_[c], D());
        if (cosine <= cosine_[n]) continue;
        cosine_[n] = cosine;
        nearest_[n] = c;
      }
    });
  }

  void move() {
    Matrix sums(centres_.rows(), D());
    std::vector<int64_t> tokens(static_cast<size_t>(centres_.rows()));
    for (int64_t n = 0; n < N(); ++n) {
      ++tokens[nearest_[n]];
      double* sum = sums[nearest_[n]];
      for (int64_t d = 0; d < D(); ++d) sum[d] += u_[n][d];
    }
    centres_ = std::move(sums);
    for (int64_t c = 0; c < centres_.rows(); ++c) {
      if (tokens[c] == 0) place(c, farthest());
      normalize(centres_[c], D());
    }
  }

  // From its centre; no longer afterwards.
  int64_t farthest() {
    const auto token = std::ranges::min_element(cosine_) - cosine_.begin();
    cosine_[token] = 1;
    return token;
  }

  const Matrix& u_;
  CounterRng rng_;
  Matrix centres_;
  std::vector<int64_t> nearest_;  // centre, by token
  std::vector<double> cosine_;    // with it
};

// Of all rows, for logits as those of random rows of deviation 1.
double length_of_rows(const Matrix& y, const Matrix& centres) {
  const int64_t D = y.columns();
  std::vector<double> squares(static_cast<size_t>(y.rows()));
  for_tokens(y.rows(), [&](int64_t n) {
    for (int64_t c = 0; c < centres.rows(); ++c) {
      squares[n] += std::pow(dot(y[n], centres[c], D), 2);
    }
  });
  double all = 0;
  double of_logits = 0;
  for (int64_t n = 0; n < y.rows(); ++n) {
    all += dot(y[n], y[n], D);
    of_logits += squares[n] / static_cast<double>(centres.rows());
  }
  return of_logits > 0 ? std::sqrt(all / of_logits) : 0;
}

}  // namespace

at::Tensor centroid_rows(const at::Tensor& inputs, const CentroidOrder& order,
                         int64_t layer) {
  ANNULI_CHECK(inputs.dim() == 2 && inputs.size(0) > 0 && order.count > 0,
               "{} centroids of {} inputs", order.count, inputs.size(0));
  const Matrix y = centred(inputs);
  Matrix directions = y;
  for_tokens(y.rows(),
             [&](int64_t n) { normalize(directions[n], y.columns()); });
  const Matrix centres = Clusters(directions, order, layer).find();
  const double length = length_of_rows(y, centres);
  at::Tensor rows =
      at::empty({order.count, y.columns()}, at::TensorOptions(at::kDouble));
  auto* out = rows.mutable_data_ptr<double>();
  for (int64_t c = 0; c < order.count; ++c) {
    for (int64_t d = 0; d < y.columns(); ++d) {
      *out++ = length * centres[c][d];
    }
  }
  return rows;
}

std::vector<at::Tensor> router_centroids(const ModelFile& file,
                                         const at::Tensor& tokens,
                                         const CentroidOrder& order) {
  const Transformer model = load_model(file, {.as_stored = true});
  at::Tensor x = model.embed(tokens);
  std::vector<at::Tensor> rows;
  for (int64_t layer = 0; layer < file.config().num_hidden_layers; ++layer) {
    LayerTrace trace;
    x = model.block(x, layer, {}, &trace);
    rows.push_back(centroid_rows(trace.ffn_input, order, layer));
    file.drop_resident();
  }
  return rows;
}

}  // namespace annuli::grow
