// Which set of kernels computes: asked once, when ggml first lists its devices. See kernels.cmake.
#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"

ggml_backend_reg_t ggml_backend_cpu_reg(void);
ggml_backend_reg_t ggml_backend_cpu_reg_avx2(void);
ggml_backend_reg_t ggml_backend_cpu_reg_avx512(void);
ggml_backend_reg_t ggml_backend_cpu_reg_amx(void);
void ggml_log_internal(enum ggml_log_level level, const char * format, ...);

// That the processor has them and that the kernel saves their registers.
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}

static int has_amx(void) {
    return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8");
}

ggml_backend_reg_t ggml_backend_cpu_reg(void) {
    // The variable can only narrow the choice: for comparisons, and where narrow kernels should be faster.
    const char * most = getenv("HANZO_LLAMA_KERNELS");
    int only_avx2 = most != NULL && strcmp(most, "avx2") == 0;
    int only_avx512 = most != NULL && strcmp(most, "avx512") == 0;
    __builtin_cpu_init();
    int avx512 = !only_avx2 && has_avx512();
    int amx = avx512 && !only_avx512 && has_amx();
    // src/load.rs reads this line.
    ggml_log_internal(GGML_LOG_LEVEL_INFO, "kernels: %s\n", amx ? "amx" : avx512 ? "avx512" : "avx2");
    return amx ? ggml_backend_cpu_reg_amx() : avx512 ? ggml_backend_cpu_reg_avx512() : ggml_backend_cpu_reg_avx2();
}
