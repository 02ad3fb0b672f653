# The kernels once more, for AVX-512, in the same static program. llama.cpp can hold several sets of kernels only as shared
# libraries, which a static program cannot open and which would be files of their own to measure. `kernels.c` chooses.
#
# Each wider set is compiled from the sources of `ggml-cpu`, joined into one object, and all its symbols but one are made
# local. Inline functions and templates of the C++ library go with it: left as weak symbols, one compiled for AVX-512 could
# be taken for the whole program, which would end with SIGILL elsewhere.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" OR BUILD_SHARED_LIBS OR GGML_NATIVE)
    return()
endif()

get_target_property(hanzo_dir ggml-cpu SOURCE_DIR)
get_target_property(hanzo_sources ggml-cpu SOURCES)
get_target_property(hanzo_definitions ggml-cpu COMPILE_DEFINITIONS)
get_target_property(hanzo_options ggml-cpu COMPILE_OPTIONS)
get_directory_property(hanzo_everywhere DIRECTORY "${hanzo_dir}" COMPILE_DEFINITIONS)
list(FILTER hanzo_sources INCLUDE REGEX "\\.(c|cpp)$")
list(TRANSFORM hanzo_sources PREPEND "${hanzo_dir}/" REGEX "^[^/]")

# The set that runs everywhere keeps its place and gives up its name.
target_compile_definitions(ggml-cpu PRIVATE ggml_backend_cpu_reg=ggml_backend_cpu_reg_avx2)

# Zen 4 and Sapphire Rapids, and all later server processors, have the first; Intel's the second too.
set(hanzo_avx512_flags -mavx512f -mavx512cd -mavx512vl -mavx512dq -mavx512bw -mavx512vbmi -mavx512vnni -mavx512bf16)
set(hanzo_avx512_definitions GGML_AVX512 GGML_AVX512_VBMI GGML_AVX512_VNNI GGML_AVX512_BF16)
set(hanzo_amx_flags ${hanzo_avx512_flags} -mamx-tile -mamx-int8)
set(hanzo_amx_definitions ${hanzo_avx512_definitions} GGML_AMX_TILE GGML_AMX_INT8)

set(hanzo_objects)
foreach(set avx512 amx)
    set(kernels hanzo-${set})
    set(entry ggml_backend_cpu_reg_${set})
    set(object "${CMAKE_CURRENT_BINARY_DIR}/${kernels}.o")
    add_library(${kernels} OBJECT ${hanzo_sources})
    target_compile_features(${kernels} PRIVATE c_std_11 cxx_std_17)
    target_include_directories(${kernels} PRIVATE "${hanzo_dir}/.." "${hanzo_dir}" "${hanzo_dir}/ggml-cpu")
    # A symbol that is one in the whole process could not be made local.
    target_compile_options(${kernels} PRIVATE ${hanzo_options} ${hanzo_${set}_flags}
        $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>)
    target_compile_definitions(${kernels} PRIVATE ${hanzo_everywhere} ${hanzo_definitions} ${hanzo_${set}_definitions}
        ggml_backend_cpu_reg=${entry})
    target_link_libraries(${kernels} PRIVATE ggml-base)
    if(GGML_OPENMP_ENABLED)
        # What was found in ggml's own directory is known there alone.
        target_compile_options(${kernels} PRIVATE -fopenmp)
    endif()
    set_target_properties(${kernels} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    # A constructor would run before the choice.
    add_custom_command(
        OUTPUT "${object}"
        COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o "${object}" $<TARGET_OBJECTS:${kernels}>
        COMMAND ${CMAKE_OBJCOPY} --keep-global-symbol=${entry} "${object}"
        COMMAND sh -c "! ${CMAKE_OBJDUMP} -h $1 | grep -E '\\.(init_array|ctors)'" sh "${object}"
        DEPENDS ${kernels} $<TARGET_OBJECTS:${kernels}>
        COMMAND_EXPAND_LISTS VERBATIM)
    list(APPEND hanzo_objects "${object}")
endforeach()

# An archive beside the others: the binding's build script links every one that is installed.
add_library(ggml-cpu-choice STATIC "${CMAKE_CURRENT_LIST_DIR}/kernels.c" ${hanzo_objects})
set_source_files_properties(${hanzo_objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
target_link_libraries(ggml-cpu-choice PRIVATE ggml-base)
set_target_properties(ggml-cpu-choice PROPERTIES POSITION_INDEPENDENT_CODE ON)
install(TARGETS ggml-cpu-choice ARCHIVE)
