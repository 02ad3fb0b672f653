/* What the test libraries share: files beside them, and the words of `scenario`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    /* `gpus=` is no part of `cuda_gpus=`. */
    while (found && found != text && found[-1] != ' ') found = strstr(found + 1, key);
    return found ? (unsigned int)strtoul(found + strlen(key), 0, 0) : otherwise;
}
