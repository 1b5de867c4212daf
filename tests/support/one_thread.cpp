#include <ATen/Parallel.h>
#include <gtest/gtest.h>

// For test programs whose tensors have some hundred entries: a second thread
// would only be waited for.
namespace annuli::tiny {
namespace {

class OneThread : public ::testing::Environment {
 public:
  void SetUp() override { at::set_num_threads(1); }
};
const ::testing::Environment* const kOneThread =
    ::testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace
}  // namespace annuli::tiny
