# Read by llama.cpp's CMake after each of its project() calls (CMAKE_PROJECT_INCLUDE, set in .cargo/config.toml and passed on
# by the binding's build script). It halves the build and adds a second set of kernels.
#
# The programs' helper library (argument parsing, downloads, an HTTP client, templates, JSON) is neither used nor linked: the
# binding crate cannot say so, because its own dependency asks for it by default.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
# Kernels as fast as they get; what calls them is compiled in less time at -O2, and is no hundredth of a step.
if(PROJECT_NAME STREQUAL "ggml")
    set(CMAKE_C_FLAGS_RELEASE "-O3 -DNDEBUG")
    set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
    # At the end of ggml's directory, where its targets are whole. Deferred words are expanded there, so now.
    cmake_language(EVAL CODE "cmake_language(DEFER CALL include [[${CMAKE_CURRENT_LIST_DIR}/kernels.cmake]])")
else()
    set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
    set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
endif()
