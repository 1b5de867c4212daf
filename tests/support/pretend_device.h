#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>

// A device without hardware: LibTorch's place for private backends, with memory
// that the host may not touch. Its operators open the memory, run the CPU's
// kernels and close it again.
//
// What it shows: a read or write of a device's tensor by the program itself is
// a segmentation fault, and the fault names the tensor; an operator whose
// tensors lie on two devices throws; a backward pass runs in another thread.
// What it cannot show: races, and the rules of a real device's own kernels.
// Results are not the CPU's to the bit, since operators are taken apart in
// another way.
namespace annuli::test {

// Registers the device, with the first call of a process.
at::Device pretend_device();

// What was asked of the device since the counting began. Views, and the making
// of tensors, cost nothing on a device and are not counted.
struct DeviceCounts {
  int64_t operators = 0;  // launches
  int64_t items = 0;      // single numbers that the host waited for
  int64_t to_host = 0;    // copies that the host waited for
  int64_t to_device = 0;
  std::map<std::string, int64_t> by_name;  // launches

  std::string line() const;  // "974 operators, 36 items, 2 + 0 copies"
};

void begin_counting();
DeviceCounts counted();

}  // namespace annuli::test
