#define BPTT_ISA baseline
#define BPTT_NAME "baseline"
#define BPTT_VECTOR_BYTES 16
#include "entry.h"
