#include "annuli/model/device.h"

#include <ATen/Context.h>

#include "annuli/core/error.h"
#include "annuli/kernels/dispatch.h"

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

void require_runnable(const Plan& plan, at::Device device) {
  if (kernels::is_host(device)) return;
  if (plan.optimizer.type == OptimizerType::kAdamw8bit) {
    user_error(
        "running {}: found optimizer.type adamw_8bit and the device {}, "
        "expected device: cpu, which alone computes with 8-bit moments; try "
        "adamw with state_dtype: bf16",
        plan.name, device.str());
  }
}

}  // namespace annuli
