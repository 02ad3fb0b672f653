/* A management library for tests: answers as NVML does, from the files beside it. `scenario` holds words that change
 * one thing each; `calls` is appended to, so that a test sees what was asked of the driver. */
#include "scenario.h"

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, VERSION_MISMATCH = 25 };
#define GPUS_MAX 8

struct report {
    unsigned int cec_present, size, cec_size;
    unsigned char nonce[32], report[8192], cec[4096];
};
struct certificate {
    unsigned int chain_size, attestation_size;
    unsigned char chain[4096], attestation[5120];
};
struct settings { unsigned int version, environment, feature, devtools, multi_gpu; };
struct state { unsigned int environment, feature, devtools; };

static int handles[GPUS_MAX];
static unsigned int ready;

static void note(const char *call) {
    FILE *file = beside("calls", "a");
    if (file) {
        fprintf(file, "%s\n", call);
        fclose(file);
    }
}

static unsigned int fill(const char *name, unsigned char *out, size_t most) {
    FILE *file = beside(name, "r");
    if (!file) return 0;
    size_t got = fread(out, 1, most, file);
    fclose(file);
    return (unsigned int)got;
}

int nvmlInit_v2(void) { return number("init", SUCCESS); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "test library"; }
int nvmlSystemGetDriverVersion(char *out, unsigned int length) {
    snprintf(out, length, number("old_driver", 0) ? "535.1" : "580.95.05");
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = number("nvml_cuda", 13000); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = number("gpus", 1); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= GPUS_MAX || index >= number("gpus", 1)) return NOT_FOUND;
    *device = &handles[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *out, unsigned int length) {
    long index = number("same_uuid", 0) ? 0 : (int *)device - handles;
    snprintf(out, length, "GPU-00000000-0000-0000-0000-%012ld", index);
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *out, unsigned int length) {
    (void)device;
    snprintf(out, length, "TEST H100");
    return SUCCESS;
}

struct pci { char legacy[16]; unsigned int domain, bus, device, id, subsystem; char name[32]; };
int nvmlDeviceGetPciInfo_v3(void *device, struct pci *out) {
    memset(out, 0, sizeof *out);
    out->bus = (unsigned int)((int *)device - handles);
    return SUCCESS;
}

struct memory { unsigned int version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *out) {
    (void)device;
    if (out->version != (sizeof *out | 2u << 24)) return VERSION_MISMATCH;
    out->total = 85899345920ull;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    (void)device;
    *major = number("nvml_major", 9);
    *minor = 0;
    return SUCCESS;
}

int nvmlDeviceGetArchitecture(void *device, unsigned int *architecture) {
    (void)device;
    *architecture = number("architecture", 9);
    return SUCCESS;
}

#ifndef WITHOUT_SETTINGS
int nvmlSystemGetConfComputeSettings(struct settings *out) {
    if (out->version != (sizeof *out | 1u << 24)) return VERSION_MISMATCH;
    if (number("settings", SUCCESS)) return number("settings", SUCCESS);
    out->environment = number("environment", 2);
    out->feature = number("feature", 1);
    out->devtools = number("devtools", 0);
    out->multi_gpu = number("multi_gpu", 0);
    return SUCCESS;
}
#endif

int nvmlSystemGetConfComputeState(struct state *out) {
    note("older state");
    out->environment = number("environment", 2);
    out->feature = number("feature", 1);
    out->devtools = number("devtools", 0);
    return SUCCESS;
}

int nvmlSystemGetConfComputeGpusReadyState(unsigned int *out) { *out = ready; return SUCCESS; }

int nvmlSystemSetConfComputeGpusReadyState(unsigned int accepting) {
    note(accepting ? "ready" : "not ready");
    if (number("set_ready", SUCCESS)) return number("set_ready", SUCCESS);
    if (!number("forgets", 0)) ready = accepting;
    return SUCCESS;
}

#ifndef WITHOUT_REPORT
int nvmlDeviceGetConfComputeGpuAttestationReport(void *device, struct report *out) {
    char name[32];
    snprintf(name, sizeof name, "report-%ld", (long)((int *)device - handles));
    if (number("report", SUCCESS)) return number("report", SUCCESS);
    unsigned int got = fill(name, out->report, sizeof out->report);
    /* The SPDM request begins the report; its nonce is at 4. */
    if (got >= 36) memcpy(out->report + 4, out->nonce, 32);
    if (number("wrong_nonce", 0)) out->report[35] ^= 1;
    out->size = number("report_size", got);
    out->cec_size = number("cec_size", 0);
    return SUCCESS;
}
#endif

int nvmlDeviceGetConfComputeGpuCertificate(void *device, struct certificate *out) {
    (void)device;
    if (number("certificate", SUCCESS)) return number("certificate", SUCCESS);
    out->chain_size = number("unused_chain", 0);
    unsigned int got = fill("chain.pem", out->attestation, sizeof out->attestation);
    out->attestation_size = number("chain_size", got);
    return SUCCESS;
}
