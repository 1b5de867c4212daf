#include "annuli/model/device.h"

#include <ATen/Context.h>

#include "annuli/core/error.h"

namespace annuli {

at::Device choose_device(DeviceChoice choice) {
  if (choice == DeviceChoice::kCpu) return at::kCPU;
  if (at::hasCUDA()) return at::Device(at::kCUDA, 0);
  if (choice == DeviceChoice::kCuda) {
    user_error(
        "choosing a device: cuda is asked for, but this build of "
        "LibTorch sees no GPU; set device: cpu or auto");
  }
  return at::kCPU;
}

}  // namespace annuli
