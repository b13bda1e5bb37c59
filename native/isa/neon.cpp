#define BPTT_ISA neon
#define BPTT_NAME "neon"
#define BPTT_VECTOR_BYTES 16
#include "entry.h"
