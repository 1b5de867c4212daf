#include "annuli/kernels/cpu/attention.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/head_attention.h"
#include "annuli/kernels/cpu/small_product.h"
#include "annuli/kernels/documents.h"
#include "annuli/kernels/gradient_type.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

#if defined(__x86_64__)

namespace {

HeadShape shape_of(const at::Tensor& q, const at::Tensor& k) {
  return {.queries = q.size(1),
          .keys = k.size(1),
          .head_dim = q.size(3),
          .group = q.size(2) / k.size(2),
          .sums = q.size(1)};
}

using Ranges = std::vector<std::vector<DocumentRange>>;

// One document of several; a whole sequence may have keys before its queries.
HeadShape shape_of(HeadShape sequence, const DocumentRange& document) {
  if (document.size() == sequence.queries) return sequence;
  sequence.queries = sequence.keys = document.size();
  return sequence;
}

// Head h of sequence b.
template <typename T>
HeadRows<const T> rows_of(const at::Tensor& x, int64_t b, int64_t h) {
  return {x.const_data_ptr<T>() + b * x.stride(0) + h * x.stride(2),
          x.stride(1)};
}
template <typename T>
HeadRows<T> mutable_rows_of(const at::Tensor& x, int64_t b, int64_t h) {
  return {x.mutable_data_ptr<T>() + b * x.stride(0) + h * x.stride(2),
          x.stride(1)};
}

template <typename T>
Rotation<T> rotation_of(const at::Tensor& cos, const at::Tensor& sin) {
  if (!cos.defined()) return {};
  return {cos.const_data_ptr<T>(), sin.const_data_ptr<T>(), cos.size(1)};
}

struct Inputs {
  at::Tensor q, k, v, cos, sin, documents;

  Ranges ranges() const {
    return document_ranges(documents, q.size(0), q.size(1));
  }
};

template <typename T, typename Out>
void attend(const Inputs& in, at::Tensor& out, at::Tensor& log_sum) {
  const HeadShape shape = shape_of(in.q, in.k);
  const int64_t H = in.q.size(2);
  const auto rotation = rotation_of<T>(in.cos, in.sin);
  const Ranges documents = in.ranges();
  T* sums = log_sum.mutable_data_ptr<T>();  // [B, H, T]
  parallel_blocks(in.q.size(0) * H, 1, [&](int64_t task, int64_t) {
    const int64_t b = task / H;
    const int64_t h = task % H;
    for (const DocumentRange& document : documents[b]) {
      const int64_t t = document.begin;
      attend_head(shape_of(shape, document), rows_of<T>(in.q, b, h).from(t),
                  rows_of<T>(in.k, b, h / shape.group).from(t),
                  rows_of<T>(in.v, b, h / shape.group).from(t), rotation,
                  mutable_rows_of<Out>(out, b, h).from(t),
                  sums + task * shape.sums + t);
    }
  });
}

struct Gradients {
  at::Tensor q, k, v;
};

template <typename T>
void attend_backward(const Inputs& in, const at::Tensor& dout,
                     const at::Tensor& log_sum, Gradients& out) {
  const HeadShape shape = shape_of(in.q, in.k);
  const int64_t K = in.k.size(2);
  const auto rotation = rotation_of<T>(in.cos, in.sin);
  const Ranges documents = in.ranges();
  const T* sums = log_sum.const_data_ptr<T>();
  parallel_blocks(in.q.size(0) * K, 1, [&](int64_t task, int64_t) {
    const int64_t b = task / K;
    const int64_t h = task % K;
    const int64_t first = h * shape.group;  // query head
    for (const DocumentRange& document : documents[b]) {
      const int64_t t = document.begin;
      attend_head_backward(
          shape_of(shape, document), rows_of<T>(in.q, b, first).from(t),
          rows_of<T>(in.k, b, h).from(t), rows_of<T>(in.v, b, h).from(t),
          rotation, rows_of<T>(dout, b, first).from(t),
          sums + task * shape.group * shape.sums + t,
          HeadGradients<T, T>{mutable_rows_of<T>(out.q, b, first).from(t),
                              mutable_rows_of<T>(out.k, b, h).from(t),
                              mutable_rows_of<T>(out.v, b, h).from(t)});
    }
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& cos,
                            const std::optional<at::Tensor>& sin,
                            const std::optional<at::Tensor>& documents,
                            at::ScalarType type) {
    const at::Tensor none;
    const Inputs in{q.contiguous(),     k.contiguous(),
                    v.contiguous(),     cos.value_or(none),
                    sin.value_or(none), documents.value_or(none)};
    at::Tensor out = at::empty(q.sizes(), q.options().dtype(type));
    at::Tensor log_sum =
        at::empty({q.size(0), q.size(2), q.size(1)}, q.options());
    AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "attention", [&] {
      if constexpr (std::is_same_v<scalar_t, float>) {
        if (type == at::kBFloat16) {
          return attend<float, at::BFloat16>(in, out, log_sum);
        }
      }
      attend<scalar_t, scalar_t>(in, out, log_sum);
    });
    ctx->save_for_backward(
        {in.q, in.k, in.v, in.cos, in.sin, in.documents, log_sum});
    return out;
  }

  static variable_list backward(AutogradContext* ctx,
                                const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Inputs in{saved[0], saved[1], saved[2], saved[3], saved[4], saved[5]};
    const at::Tensor dout = grads[0].contiguous();
    Gradients out{at::empty(in.q.sizes(), in.q.options()),
                  at::empty(in.k.sizes(), in.k.options()),
                  at::empty(in.v.sizes(), in.v.options())};
    AT_DISPATCH_FLOATING_TYPES(in.q.scalar_type(), "attention_backward", [&] {
      attend_backward<scalar_t>(in, dout, saved[6], out);
    });
    at::Tensor none;
    return {out.q, out.k, out.v, none, none, none, none};
  }
};

}  // namespace

at::Tensor cpu::attention(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, const RotaryTable& rotary,
                          at::ScalarType out, const at::Tensor& documents) {
  ANNULI_CHECK(
      k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(),
      "q is {}, k {}, v {}", words_of(q), words_of(k), words_of(v));
  at::Tensor mixed = Attention::apply(q, k, v, given(rotary.cos),
                                      given(rotary.sin), given(documents), out);
  set_gradient_type(mixed, q.scalar_type());
  return mixed;
}

#else

at::Tensor cpu::attention(const at::Tensor&, const at::Tensor&,
                          const at::Tensor&, const RotaryTable&, at::ScalarType,
                          const at::Tensor&) {
  ANNULI_CHECK(false, "AVX-512 elsewhere");
}

#endif

// Packing the keys pays from this many queries on.
constexpr int64_t kFewQueries = 16;

bool cpu::attention_pays(const at::Tensor& q, const at::Tensor& k) {
  return has_avx512() && (q.size(1) == k.size(1) || q.size(1) >= kFewQueries);
}

bool attention_keeps_result() { return !has_avx512(); }

}  // namespace annuli::kernels
