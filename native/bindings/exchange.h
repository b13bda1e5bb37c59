// What of DLPack's C exchange (version 1 of its ABI, github.com/dmlc/dlpack) is needed to read and make tensors without a copy and
// without Python's own calls: torch offers it on its tensor type since 2.10.
#pragma once

#include <cstdint>

namespace bptt::exchange {

struct Tensor {
    void* data;
    std::int32_t device_type;  // 1: CPU
    std::int32_t device_id;
    std::int32_t dimensions;
    std::uint8_t code;  // 2: floating point, 6: bool
    std::uint8_t bits;
    std::uint16_t lanes;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null: dense
    std::uint64_t byte_offset;
};

struct Managed {
    std::uint32_t major, minor;
    void* context;
    void (*deleter)(Managed*);
    std::uint64_t flags;
    Tensor tensor;
};

struct Table {
    std::uint32_t major, minor;
    Table* previous;
    int (*allocate)(Tensor* like, Managed** made, void* context, void (*set_error)(void*, const char* kind, const char* message));
    int (*managed_from_object)(void* object, Managed** made);
    int (*object_from_managed)(Managed* managed, void** object);
    int (*view)(void* object, Tensor* view);
    int (*stream)(std::int32_t device_type, std::int32_t device_id, void** stream);
};

}  // namespace bptt::exchange
