#pragma once

#include <nanobind/nanobind.h>

namespace bptt {

void define_direct(nanobind::module_& m);

}  // namespace bptt
