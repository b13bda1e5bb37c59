#define BPTT_ISA avx2
#define BPTT_NAME "avx2"
#define BPTT_VECTOR_BYTES 32
#include "entry.h"
