/* A management library for tests: answers as NVML does, from the files beside it. `scenario` holds words that change
 * one thing each; `calls` is appended to, so that a test sees what was asked of the driver. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static FILE *beside(const char *name, const char *mode) {
    Dl_info self;
    char path[4096];
    dladdr((void *)beside, &self);
    snprintf(path, sizeof path, "%s", self.dli_fname);
    char *slash = strrchr(path, '/');
    snprintf(slash + 1, sizeof path - (slash + 1 - path), "%s", name);
    return fopen(path, mode);
}

/* The number behind `word=` in the scenario, or `otherwise`. */
static unsigned int number(const char *word, unsigned int otherwise) {
    char text[4096] = "";
    FILE *file = beside("scenario", "r");
    if (file) {
        size_t got = fread(text, 1, sizeof text - 1, file);
        text[got] = 0;
        fclose(file);
    }
    char key[64];
    snprintf(key, sizeof key, "%s=", word);
    char *found = strstr(text, key);
    return found ? (unsigned int)strtoul(found + strlen(key), 0, 0) : otherwise;
}

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
int nvmlSystemGetDriverVersion(char *out, unsigned int length) { snprintf(out, length, "580.95.05"); return SUCCESS; }
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
