/* A CUDA driver library for tests: device memory is the process's, and words of `scenario` change one thing each. */
#include "scenario.h"
#include "reaches.h"

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100 };
typedef unsigned long long pointer;

static int devices[8];
static void *current;
static char reached[512];

/* Before anything is asked of the library: its loading alone is enough. */
__attribute__((constructor)) static void attack(void) {
#ifdef ALONE
    return;
#endif
    char lacks[256] = "";
    if (!number("attacks", 0)) return;
    reach(reached, sizeof reached);
    need(lacks, sizeof lacks);
    if (lacks[0]) snprintf(reached + strlen(reached), sizeof reached - strlen(reached), "and lacks %s", lacks);
}

/* Takes and touches so many MiB. */
static int eat(unsigned int mib) {
    for (unsigned int at = 0; at < mib; at += 16) {
        char *more = malloc(16 << 20);
        if (!more) return 2;
        memset(more, 1, 16 << 20);
    }
    return SUCCESS;
}

int cuInit(unsigned int flags) {
    (void)flags;
    return number("eats", 0) ? eat(number("eats", 0)) : (int)number("cuda_init", SUCCESS);
}
int cuDriverGetVersion(int *out) { *out = number("cuda", 13000); return SUCCESS; }
int cuDeviceGetCount(int *out) { *out = number("cuda_gpus", number("gpus", 1)); return SUCCESS; }

int cuDeviceGet(int *out, int index) {
    if (index < 0 || index >= 8) return INVALID_VALUE;
    *out = index;
    return SUCCESS;
}

int cuDeviceGetName(char *out, int length, int device) {
    (void)device;
    snprintf(out, length, "%s", reached[0] ? reached : number("other_name", 0) ? "TEST A100" : "TEST H100");
    return SUCCESS;
}

int cuDeviceGetUuid(unsigned char *out, int device) {
    memset(out, 0, 16);
    out[15] = (unsigned char)(number("cuda_same_uuid", 0) ? 0 : device);
    out[0] = (unsigned char)number("other_uuid", 0);
    return SUCCESS;
}

int cuDeviceGetAttribute(int *out, int attribute, int device) {
    switch (attribute) {
    case 33: *out = device + number("other_bus", 0); break; /* PCI_BUS_ID */
    case 34: case 50: *out = 0; break;                      /* PCI_DEVICE_ID, PCI_DOMAIN_ID */
    case 75: *out = number("cuda_major", 9); break;         /* COMPUTE_CAPABILITY_MAJOR */
    case 76: *out = 0; break;                               /* COMPUTE_CAPABILITY_MINOR */
    case 115: *out = number("pools", 1); break;             /* MEMORY_POOLS_SUPPORTED */
    default: return INVALID_VALUE;
    }
    return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *out, int device) {
    (void)device;
    *out = 85899345920ull - 1048576 * 300ull + number("more_memory", 0) * 1073741824ull;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **out, int device) {
    *out = &devices[device];
    return number("retain", SUCCESS);
}
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return SUCCESS; }
int cuCtxGetCurrent(void **out) { *out = current; return SUCCESS; }
int cuCtxSetCurrent(void *context) { current = context; return SUCCESS; }
int cuCtxSynchronize(void) { return SUCCESS; }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    *free_bytes = 80000000000ull + number("more_free", 0) * 1073741824ull;
    *total = 85899345920ull - 1048576 * 300ull;
    return SUCCESS;
}

int cuMemHostAlloc(void **out, size_t bytes, unsigned int flags) {
    (void)flags;
    *out = malloc(bytes);
    return number("pinned", SUCCESS);
}
int cuMemFreeHost(void *memory) { free(memory); return SUCCESS; }
int cuMemAlloc_v2(pointer *out, size_t bytes) { *out = (pointer)malloc(bytes); return SUCCESS; }
int cuMemFree_v2(pointer memory) { free((void *)memory); return SUCCESS; }
int cuMemAllocAsync(pointer *out, size_t bytes, void *stream) { (void)stream; return cuMemAlloc_v2(out, bytes); }
int cuMemFreeAsync(pointer memory, void *stream) { (void)stream; return cuMemFree_v2(memory); }

int cuMemsetD8Async(pointer memory, unsigned char value, size_t bytes, void *stream) {
    (void)stream;
    memset((void *)memory, value, bytes);
    return SUCCESS;
}

int cuMemcpyHtoDAsync_v2(pointer to, const void *from, size_t bytes, void *stream) {
    (void)stream;
    if (number("dies", 0)) abort();
    if (!number("forgets_copy", 0)) memcpy((void *)to, from, bytes);
    return SUCCESS;
}

int cuMemcpyDtoHAsync_v2(void *to, pointer from, size_t bytes, void *stream) {
    (void)stream;
    memcpy(to, (void *)from, bytes);
    unsigned int wrong = number("wrong_byte", 0);
    if (wrong) ((unsigned char *)to)[wrong] ^= 1;
    return SUCCESS;
}

static int event;
int cuEventCreate(void **out, unsigned int flags) { (void)flags; *out = &event; return SUCCESS; }
int cuEventRecord(void *one, void *stream) { (void)one; (void)stream; return SUCCESS; }
int cuEventSynchronize(void *one) { (void)one; return SUCCESS; }
int cuEventDestroy_v2(void *one) { (void)one; return SUCCESS; }
#ifndef WITHOUT_WAIT
int cuStreamWaitEvent(void *stream, void *one, unsigned int flags) { (void)stream; (void)one; (void)flags; return SUCCESS; }
#endif
int cuStreamSynchronize(void *stream) { (void)stream; return SUCCESS; }

#ifdef ALONE
/* The same attempts where nothing confines them. */
int main(void) {
    char text[512];
    reach(text, sizeof text);
    puts(text);
    return 0;
}
#endif
