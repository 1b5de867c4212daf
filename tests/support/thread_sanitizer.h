#pragma once

#ifndef __has_feature  // is clang's
#define __has_feature(feature) 0
#endif

namespace annuli::test {

// Clang's begins with half a megabyte in TMPDIR and does not look whether it
// found room: where files are bounded, a program is ended by SIGBUS before its
// main().
inline constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);

}  // namespace annuli::test
