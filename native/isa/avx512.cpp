#define BPTT_ISA avx512
#define BPTT_NAME "avx512"
#define BPTT_VECTOR_BYTES 64
#include "entry.h"
