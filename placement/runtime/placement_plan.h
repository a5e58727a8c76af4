/* SPDX-License-Identifier: Apache-2.0
 *
 * placement_plan.h: reads plan.bin, the exact tables of a placement plan (format: docs/plan-format.md).
 *
 * One header, C11 or C++17, no dependency but the C library, no allocation. Little-endian machines.
 *
 *     placement_plan plan;
 *     placement_rank_record me;
 *     int error = placement_open(&plan, "plan/plan.bin");
 *     if (!error) error = placement_get_rank(&plan, 17, &me);
 *     if (error) fprintf(stderr, "%s\n", placement_error(error));
 *     placement_close(&plan);
 *
 * What is checked when:
 *   placement_open    header and section table with their CRC-32C, the place of every section, the zeros between them, counts,
 *                     and the CRC-32C of every table of at most 64 KiB. Some ten microseconds, whatever the size of the plan.
 *   placement_check   all the rest: every CRC-32C, every index, every name, the order of hosts. Milliseconds at 220,000 ranks.
 *   every accessor    that what it reads lies inside its table, and that every index in what it returns does too.
 * So no file, damaged or made to deceive, leads a reader out of the file, whether or not placement_check was called;
 * placement_check says that the file is the one that was written. The file must not change while it is mapped: writers of plans
 * rename, and never write in place.
 *
 * Functions return PLACEMENT_OK or a PLACEMENT_E_...; what they return through pointers is defined only after PLACEMENT_OK. All
 * functions but open and close only read the plan: any number of threads may call them at once.
 *
 * Define PLACEMENT_PLAN_NO_FILES to leave out placement_open (no mmap here), PLACEMENT_PLAN_PORTABLE to leave out the CRC
 * instructions of the processor.
 */
#ifndef PLACEMENT_PLAN_H
#define PLACEMENT_PLAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef PLACEMENT_PLAN_NO_FILES
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#define PLACEMENT_FORMAT_MAJOR 1
#define PLACEMENT_FORMAT_MINOR 0            /* the newest minor version that this header knows; later ones are read as well */
#define PLACEMENT_NONE UINT32_C(0xFFFFFFFF) /* "no such rank", "no such group" */
#define PLACEMENT_MAX_SECTIONS 1024
#define PLACEMENT_SMALL_BYTES 65536 /* tables up to here have their CRC checked by placement_open */

#ifdef __cplusplus
#define PLACEMENT_STATIC_ASSERT_(fact, text) static_assert(fact, text)
#else
#define PLACEMENT_STATIC_ASSERT_(fact, text) _Static_assert(fact, text)
#endif

/* ---------------------------------------------------------------------------------------------------------------- errors */

enum placement_status {
    PLACEMENT_OK = 0,
    PLACEMENT_E_FILE = 1,       /* cannot be opened or mapped: errno says why */
    PLACEMENT_E_NOT_A_PLAN = 2, /* does not start with the mark of a plan.bin */
    PLACEMENT_E_TRUNCATED = 3,  /* size differs from what the header says */
    PLACEMENT_E_ENDIAN = 4,     /* byte-order mark is wrong, or this machine is big-endian */
    PLACEMENT_E_VERSION = 5,    /* another major version */
    PLACEMENT_E_CHECKSUM = 6,   /* a CRC-32C does not match */
    PLACEMENT_E_DAMAGED = 7,    /* a section, index or name leaves its table, or tables disagree */
    PLACEMENT_E_RANGE = 8,      /* the caller's index is past the end */
    PLACEMENT_E_NOT_FOUND = 9   /* no such host, communicator, or no rank there */
};

/* A sentence for an error, without a newline; never NULL. */
static inline const char *placement_error(int error) {
    switch (error) {
    case PLACEMENT_OK: return "no error";
    case PLACEMENT_E_FILE: return "the plan cannot be opened";
    case PLACEMENT_E_NOT_A_PLAN: return "the file is not a plan.bin";
    case PLACEMENT_E_TRUNCATED: return "the plan is truncated, or has bytes appended";
    case PLACEMENT_E_ENDIAN: return "the byte order of the plan is not that of this machine";
    case PLACEMENT_E_VERSION: return "the plan has another major version of the format";
    case PLACEMENT_E_CHECKSUM: return "the plan does not match its CRC-32C";
    case PLACEMENT_E_DAMAGED: return "the tables of the plan are damaged";
    case PLACEMENT_E_RANGE: return "the index is past the end of its table";
    case PLACEMENT_E_NOT_FOUND: return "the plan has no such entry";
    default: return "unknown error";
    }
}

/* ------------------------------------------------------------------------------- records, as docs/plan-format.md has them */

enum placement_section {
    PLACEMENT_STRATEGY = 1,
    PLACEMENT_RANKS = 2,
    PLACEMENT_HOSTS = 3,
    PLACEMENT_SLOTS = 4,
    PLACEMENT_DOMAINS = 5,
    PLACEMENT_NICS = 6,
    PLACEMENT_COMMUNICATORS = 7,
    PLACEMENT_MEMBERS = 8,
    PLACEMENT_STAGES = 9,
    PLACEMENT_CHUNKS = 10,
    PLACEMENT_LAYERS = 11,
    PLACEMENT_SPARES = 12,
    PLACEMENT_NAMES = 13,
    PLACEMENT_NUM_SECTIONS_ = 14
};

enum placement_flag {
    PLACEMENT_LOCAL_RANK_IS_SLOT =
        1,                     /* launchers may number local ranks themselves; otherwise CUDA_VISIBLE_DEVICES is needed */
    PLACEMENT_WHOLE_NODES = 2, /* each host of the plan gives all its GPU slots */
    PLACEMENT_RAILS_CONNECTED = 4
};

enum placement_kind { PLACEMENT_ARITHMETIC = 0, PLACEMENT_LISTED = 1 };

/* Fields `name` are offsets into NAMES: give them and `name_size` to placement_name. */
typedef struct placement_strategy_record {
    uint32_t tp, cp, ep, etp, gtp, egtp, dp, edp, pp, vpp, micro_batch, num_microbatches;
    uint32_t schedule, recompute, sharding; /* names: placement_schedule_name and its kin */
    uint32_t num_rails, num_planes, reserved;
    uint64_t seq_len, global_batch; /* tokens; sequences */
    double step_s;                  /* predicted */
    uint8_t unused[32];
} placement_strategy_record;

typedef struct placement_rank_record {
    uint32_t rank;
    uint32_t host;                           /* index for placement_get_host */
    uint32_t node;                           /* index of the node in fabric order */
    uint32_t domain;                         /* NVLink domain: index for placement_get_domain */
    uint16_t slot, local_rank, rail, stage;  /* GPU slot of the host; place among its ranks; NIC; pipeline coordinate */
    uint32_t dp, ep, edp;                    /* coordinates */
    uint16_t tp, cp, etp, gtp, egtp, unused; /* coordinates */
    uint32_t gpu;                            /* node * gpus_per_node + slot */
    uint32_t reserved[3];
} placement_rank_record;

typedef struct placement_host_record {
    uint32_t name, name_size, node, domain, num_ranks, first_rank, reserved[2];
} placement_host_record;

typedef struct placement_domain_record {
    uint32_t name, name_size, num_ranks, num_hosts;
} placement_domain_record;

typedef struct placement_nic_record {
    uint32_t name, name_size, rail, reserved;
} placement_nic_record;

typedef struct placement_communicator_record {
    uint32_t name, name_size, kind, reserved;
    uint32_t num_groups, size; /* communicators of this name; members of each */
    uint32_t inner_size, inner_stride, outer_size, outer_stride;
    uint64_t members, index;
    uint64_t unused;
} placement_communicator_record;

typedef struct placement_stage_record {
    uint32_t stage, recompute, num_chunks, num_layers;
    double busy_s, memory_bytes; /* predicted, of a step and of its fullest GPU */
} placement_stage_record;

typedef struct placement_chunk_record {
    uint32_t chunk, stage, virtual_stage, first_layer, num_layers, reserved[3];
} placement_chunk_record;

typedef struct placement_layer_record {
    uint32_t layer, chunk, stage, type, name, name_size, type_name, type_name_size;
} placement_layer_record;

typedef struct placement_spare_record {
    uint32_t gpu, node, domain, slot, rail, reserved_node, name, name_size;
} placement_spare_record;

PLACEMENT_STATIC_ASSERT_(sizeof(placement_strategy_record) == 128, "layout of STRATEGY");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_rank_record) == 64, "a rank is one cache line");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_host_record) == 32, "layout of HOSTS");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_domain_record) == 16, "layout of DOMAINS");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_nic_record) == 16, "layout of NICS");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_communicator_record) == 64, "layout of COMMUNICATORS");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_stage_record) == 32, "layout of STAGES");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_chunk_record) == 32, "layout of CHUNKS");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_layer_record) == 32, "layout of LAYERS");
PLACEMENT_STATIC_ASSERT_(sizeof(placement_spare_record) == 32, "layout of SPARES");
PLACEMENT_STATIC_ASSERT_(offsetof(placement_strategy_record, step_s) == 88, "layout of STRATEGY");
PLACEMENT_STATIC_ASSERT_(offsetof(placement_rank_record, gpu) == 48, "layout of RANKS");
PLACEMENT_STATIC_ASSERT_(offsetof(placement_communicator_record, members) == 40, "layout of COMMUNICATORS");

/* A mapped table. `width` may exceed the size of the record above: a minor version may lengthen records. */
typedef struct placement_table {
    const unsigned char *at;
    uint64_t count;
    uint32_t width, crc32c;
} placement_table;

/* An open plan. Fields without an underscore are for reading. */
typedef struct placement_plan {
    uint32_t major, minor, flags;
    uint32_t world_size, num_hosts, gpus_per_node, num_stages;
    uint32_t num_domains, num_nics, num_communicators, num_chunks, num_layers, num_spares;
    uint8_t digest[32]; /* SHA-256 of the plan, as in plan.json */
    placement_table table_[PLACEMENT_NUM_SECTIONS_];
    const unsigned char *data_;
    size_t size_;
    int mapped_;
} placement_plan;

/* --------------------------------------------------------------------------- CRC-32C (Castagnoli, RFC 3720 appendix B.4) */

#define PLACEMENT_CRC_POLYNOMIAL_ UINT32_C(0x82F63B78)

#if !defined(PLACEMENT_PLAN_PORTABLE) && defined(__GNUC__) && defined(__x86_64__)
#define PLACEMENT_CRC_TARGET_ __attribute__((target("sse4.2")))
#define PLACEMENT_CRC_STEP8_(crc, word) ((uint32_t)__builtin_ia32_crc32di((crc), (word)))
#define PLACEMENT_CRC_STEP1_(crc, byte) (__builtin_ia32_crc32qi((crc), (byte)))
#define PLACEMENT_CRC_AVAILABLE_ (__builtin_cpu_supports("sse4.2"))
#elif !defined(PLACEMENT_PLAN_PORTABLE) && defined(__GNUC__) && defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h> /* from -march=armv8.1-a on */
#define PLACEMENT_CRC_TARGET_
#define PLACEMENT_CRC_STEP8_(crc, word) __crc32cd((crc), (word))
#define PLACEMENT_CRC_STEP1_(crc, byte) __crc32cb((crc), (byte))
#define PLACEMENT_CRC_AVAILABLE_ 1
#endif

static inline uint64_t placement_word_(const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Product of two polynomials modulo the generator, bits reflected (as in zlib's crc32_combine). */
static inline uint32_t placement_crc_product_(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = UINT32_C(1) << 31; bit; bit >>= 1) {
        if (a & bit) product ^= b;
        b = b & 1 ? (b >> 1) ^ PLACEMENT_CRC_POLYNOMIAL_ : b >> 1;
    }
    return product;
}

/* x^(8 * bytes): what a CRC register is multiplied by while that many zero bytes go through it. */
static inline uint32_t placement_crc_power_(uint64_t bytes) {
    uint32_t power = UINT32_C(1) << 31, square = UINT32_C(1) << 23; /* x^0, x^8 */
    for (; bytes; bytes >>= 1) {
        if (bytes & 1) power = placement_crc_product_(square, power);
        square = placement_crc_product_(square, square);
    }
    return power;
}

#ifdef PLACEMENT_CRC_AVAILABLE_
/* The instruction takes three cycles and one can start each cycle, so three thirds of the data go side by side. */
PLACEMENT_CRC_TARGET_ static inline uint32_t placement_crc_fast_(uint32_t crc, const unsigned char *data, size_t size) {
    if (size >= 16384) {
        const size_t third = size / 24 * 8;
        const unsigned char *a = data, *b = data + third, *c = b + third;
        uint32_t second = 0, last = 0;
        for (size_t i = 0; i < third; i += 8) {
            crc = PLACEMENT_CRC_STEP8_(crc, placement_word_(a + i));
            second = PLACEMENT_CRC_STEP8_(second, placement_word_(b + i));
            last = PLACEMENT_CRC_STEP8_(last, placement_word_(c + i));
        }
        const uint32_t power = placement_crc_power_(third);
        crc = placement_crc_product_(power, placement_crc_product_(power, crc) ^ second) ^ last;
        data += 3 * third;
        size -= 3 * third;
    }
    for (; size >= 8; data += 8, size -= 8) crc = PLACEMENT_CRC_STEP8_(crc, placement_word_(data));
    for (; size; ++data, --size) crc = PLACEMENT_CRC_STEP1_(crc, *data);
    return crc;
}
#endif

/* Eight bytes a step through eight tables (Kounavis and Berry 2005), made on the stack: a few microseconds instead of pages of
 * constants. */
static inline uint32_t placement_crc_tables_(uint32_t crc, const unsigned char *data, size_t size) {
    uint32_t table[8][256];
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; ++bit) value = value & 1 ? (value >> 1) ^ PLACEMENT_CRC_POLYNOMIAL_ : value >> 1;
        table[0][byte] = value;
    }
    for (uint32_t byte = 0; byte < 256; ++byte)
        for (int k = 1; k < 8; ++k) table[k][byte] = (table[k - 1][byte] >> 8) ^ table[0][table[k - 1][byte] & 255];
    for (; size >= 8; data += 8, size -= 8) {
        const uint64_t word = placement_word_(data) ^ crc;
        crc = 0;
        for (int k = 0; k < 8; ++k) crc ^= table[7 - k][(word >> (8 * k)) & 255];
    }
    for (; size; ++data, --size) crc = (crc >> 8) ^ table[0][(crc ^ *data) & 255];
    return crc;
}

/* Half a byte a step: for headers. */
static inline uint32_t placement_crc_small_(uint32_t crc, const unsigned char *data, size_t size) {
    static const uint32_t table[16] = {0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
                                       0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
                                       0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75};
    for (; size; ++data, --size) {
        crc ^= *data;
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return crc;
}

static inline uint32_t placement_crc32c(const void *data, size_t size) {
    const unsigned char *at = (const unsigned char *)data;
#ifdef PLACEMENT_CRC_AVAILABLE_
    if (PLACEMENT_CRC_AVAILABLE_) return ~placement_crc_fast_(PLACEMENT_NONE, at, size);
#endif
    if (size < 1024) return ~placement_crc_small_(PLACEMENT_NONE, at, size);
    return ~placement_crc_tables_(PLACEMENT_NONE, at, size);
}

/* ----------------------------------------------------------------------------------------------------------------- opening */

static inline uint16_t placement_u16_(const unsigned char *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t placement_u32_(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t placement_u64_(const unsigned char *at) { return placement_word_(at); }

static inline int placement_zeros_(const unsigned char *data, uint64_t from, uint64_t to) {
    unsigned char seen = 0;
    for (; from < to; ++from) seen |= data[from];
    return seen == 0;
}

static inline uint32_t placement_record_size_(uint32_t section) {
    static const uint32_t size[PLACEMENT_NUM_SECTIONS_] = {0, 128, 64, 32, 4, 16, 16, 64, 4, 32, 32, 32, 32, 1};
    return section < PLACEMENT_NUM_SECTIONS_ ? size[section] : 0;
}

static inline int placement_open_header_(placement_plan *plan, const unsigned char *data, size_t size) {
    static const unsigned char magic[8] = {0x89, 'P', 'L', 'A', 'N', 0x1A, '\r', '\n'};
    if (size < sizeof magic || memcmp(data, magic, sizeof magic) != 0) return PLACEMENT_E_NOT_A_PLAN;
    if (size < 128) return PLACEMENT_E_TRUNCATED;
    if (placement_u32_(data + 12) != UINT32_C(0x01020304)) return PLACEMENT_E_ENDIAN;
    if (placement_u16_(data + 8) != PLACEMENT_FORMAT_MAJOR) return PLACEMENT_E_VERSION;
    if (placement_u32_(data + 124) != placement_crc32c(data, 124)) return PLACEMENT_E_CHECKSUM;
    if (placement_u64_(data + 16) != size) return PLACEMENT_E_TRUNCATED;
    plan->major = placement_u16_(data + 8);
    plan->minor = placement_u16_(data + 10);
    plan->flags = placement_u32_(data + 44);
    memcpy(plan->digest, data + 48, sizeof plan->digest);
    plan->world_size = placement_u32_(data + 80);
    plan->num_hosts = placement_u32_(data + 84);
    plan->gpus_per_node = placement_u32_(data + 88);
    plan->num_stages = placement_u32_(data + 92);
    return PLACEMENT_OK;
}

/* Sections may stand in any order in the section table; in the file they do not overlap, and between them are zeros. */
static inline int placement_open_places_(const unsigned char *data, uint64_t size, uint64_t table, uint64_t count,
                                         uint64_t width) {
    uint64_t at = table + count * width, last = 0, last_entry = 0;
    for (uint64_t done = 0; done < count; ++done) {
        uint64_t offset = UINT64_MAX, entry = 0;
        for (uint64_t i = 0; i < count; ++i) { /* the next by place, then by entry: few enough to look for it each time */
            const uint64_t here = placement_u64_(data + table + i * width + 8);
            if (here < offset && (done == 0 || here > last || (here == last && i > last_entry))) offset = here, entry = i;
        }
        const unsigned char *row = data + table + entry * width;
        const uint64_t element = placement_u32_(row + 4), elements = placement_u64_(row + 16);
        if (offset % 64 || offset < at || offset > size || element == 0 || elements > (size - offset) / element)
            return PLACEMENT_E_DAMAGED;
        if (!placement_zeros_(data, at, offset)) return PLACEMENT_E_DAMAGED;
        at = offset + elements * element;
        last = offset;
        last_entry = entry;
    }
    return placement_zeros_(data, at, size) ? PLACEMENT_OK : PLACEMENT_E_DAMAGED;
}

static inline int placement_open_sections_(placement_plan *plan, const unsigned char *data, size_t size) {
    const uint64_t header = placement_u32_(data + 24), count = placement_u32_(data + 28), table = placement_u64_(data + 32);
    const uint64_t width = placement_u32_(data + 40);
    if (header < 128 || table < header || count > PLACEMENT_MAX_SECTIONS || width < 32) return PLACEMENT_E_DAMAGED;
    if (table > size || count * width > size - table) return PLACEMENT_E_DAMAGED;
    if (placement_u32_(data + 120) != placement_crc32c(data + table, (size_t)(count * width))) return PLACEMENT_E_CHECKSUM;
    if (!placement_zeros_(data, header, table)) return PLACEMENT_E_DAMAGED;
    const int places = placement_open_places_(data, size, table, count, width);
    if (places) return places;
    for (uint64_t i = 0; i < count; ++i) {
        const unsigned char *entry = data + table + i * width;
        const uint32_t type = placement_u32_(entry);
        for (uint64_t j = 0; j < i; ++j)
            if (placement_u32_(data + table + j * width) == type) return PLACEMENT_E_DAMAGED;
        const uint32_t record = placement_record_size_(type);
        if (record == 0) continue; /* of a later minor version */
        placement_table *found = &plan->table_[type];
        found->width = placement_u32_(entry + 4);
        found->at = data + placement_u64_(entry + 8);
        found->count = placement_u64_(entry + 16);
        found->crc32c = placement_u32_(entry + 24);
        if (found->width < record || (record < 16 && found->width != record)) return PLACEMENT_E_DAMAGED;
    }
    return PLACEMENT_OK;
}

/* Required sections are there and have as many records as the header says. */
static inline int placement_open_counts_(placement_plan *plan) {
    const placement_table *table = plan->table_;
    for (int i = PLACEMENT_STRATEGY; i < PLACEMENT_NUM_SECTIONS_; ++i) {
        if (!table[i].at) return PLACEMENT_E_DAMAGED;
        if (i != PLACEMENT_NAMES && i != PLACEMENT_MEMBERS && table[i].count >= PLACEMENT_NONE) return PLACEMENT_E_DAMAGED;
    }
    if (!plan->world_size || !plan->num_hosts || !plan->gpus_per_node || !plan->num_stages) return PLACEMENT_E_DAMAGED;
    if (table[PLACEMENT_RANKS].count != plan->world_size || table[PLACEMENT_HOSTS].count != plan->num_hosts ||
        table[PLACEMENT_SLOTS].count != (uint64_t)plan->num_hosts * plan->gpus_per_node ||
        table[PLACEMENT_STRATEGY].count != 1 || table[PLACEMENT_STAGES].count != plan->num_stages)
        return PLACEMENT_E_DAMAGED;
    plan->num_domains = (uint32_t)table[PLACEMENT_DOMAINS].count;
    plan->num_nics = (uint32_t)table[PLACEMENT_NICS].count;
    plan->num_communicators = (uint32_t)table[PLACEMENT_COMMUNICATORS].count;
    plan->num_chunks = (uint32_t)table[PLACEMENT_CHUNKS].count;
    plan->num_layers = (uint32_t)table[PLACEMENT_LAYERS].count;
    plan->num_spares = (uint32_t)table[PLACEMENT_SPARES].count;
    return PLACEMENT_OK;
}

static inline int placement_crc_matches_(const placement_table *table) {
    return table->crc32c == placement_crc32c(table->at, (size_t)(table->count * table->width));
}

static inline int placement_open_steps_(placement_plan *plan, const unsigned char *data, size_t size) {
    int error = placement_open_header_(plan, data, size);
    if (!error) error = placement_open_sections_(plan, data, size);
    if (!error) error = placement_open_counts_(plan);
    for (int i = PLACEMENT_STRATEGY; !error && i < PLACEMENT_NUM_SECTIONS_; ++i) {
        const placement_table *table = &plan->table_[i];
        if (table->count * table->width <= PLACEMENT_SMALL_BYTES && !placement_crc_matches_(table))
            error = PLACEMENT_E_CHECKSUM;
    }
    return error;
}

/* Open a plan that is in memory already, at any alignment; it must stay there, unchanged, as long as the plan is used.
 * After an error every accessor says PLACEMENT_E_RANGE. */
static inline int placement_open_memory(placement_plan *plan, const void *data, size_t size) {
    memset(plan, 0, sizeof *plan);
    const int error = placement_open_steps_(plan, (const unsigned char *)data, size);
    if (error) {
        memset(plan, 0, sizeof *plan);
        return error;
    }
    plan->data_ = (const unsigned char *)data;
    plan->size_ = size;
    return PLACEMENT_OK;
}

#ifndef PLACEMENT_PLAN_NO_FILES
/* Map a plan.bin and open it. After PLACEMENT_E_FILE errno says why. */
static inline int placement_open(placement_plan *plan, const char *path) {
    memset(plan, 0, sizeof *plan);
#ifdef O_CLOEXEC
    const int file = open(path, O_RDONLY | O_CLOEXEC);
#else
    const int file = open(path, O_RDONLY);
#endif
    if (file < 0) return PLACEMENT_E_FILE;
    struct stat status;
    int error = fstat(file, &status) ? PLACEMENT_E_FILE : PLACEMENT_OK;
    if (!error && !S_ISREG(status.st_mode)) {
        errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
        error = PLACEMENT_E_FILE;
    }
    if (!error && status.st_size <= 0) error = PLACEMENT_E_NOT_A_PLAN;
    if (!error && (uint64_t)status.st_size > SIZE_MAX) error = PLACEMENT_E_RANGE;
    if (!error) {
        void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
        if (data == MAP_FAILED) {
            error = PLACEMENT_E_FILE;
        } else if ((error = placement_open_memory(plan, data, (size_t)status.st_size))) {
            munmap(data, (size_t)status.st_size);
        } else {
            plan->mapped_ = 1;
        }
    }
    const int kept = errno;
    close(file);
    errno = kept;
    return error;
}
#endif

/* Unmap. Harmless on a plan that failed to open, or twice. */
static inline void placement_close(placement_plan *plan) {
#ifndef PLACEMENT_PLAN_NO_FILES
    union {
        const unsigned char *read;
        void *any;
    } data; /* munmap takes what mmap gave, without const */
    data.read = plan->data_;
    if (plan->mapped_) munmap(data.any, plan->size_);
#endif
    memset(plan, 0, sizeof *plan);
}

/* --------------------------------------------------------------------------------------------------------------- accessors */

static inline int placement_read_(const placement_plan *plan, int section, uint64_t index, void *record, size_t size) {
    const placement_table *table = &plan->table_[section];
    if (index >= table->count) return PLACEMENT_E_RANGE;
    memcpy(record, table->at + index * table->width, size);
    return PLACEMENT_OK;
}

static inline uint32_t placement_read_u32_(const placement_plan *plan, int section, uint64_t index) {
    return placement_u32_(plan->table_[section].at + index * 4);
}

/* A name of NAMES, NUL-terminated, valid until the plan is closed; NULL where the file is damaged. */
static inline const char *placement_name(const placement_plan *plan, uint32_t name, uint32_t name_size) {
    const placement_table *names = &plan->table_[PLACEMENT_NAMES];
    const uint64_t end = (uint64_t)name + name_size;
    if (end >= names->count || names->at[end] != 0) return NULL;
    return (const char *)(names->at + name);
}

static inline int placement_get_strategy(const placement_plan *plan, placement_strategy_record *strategy) {
    return placement_read_(plan, PLACEMENT_STRATEGY, 0, strategy, sizeof *strategy);
}

/* Everything about a rank. Host, domain, slot, rail and stage are inside their tables. Copied field by field: what a caller
 * does not look at is not copied then, and a scan of all ranks takes a third of the time. */
static inline int placement_get_rank(const placement_plan *plan, uint32_t rank, placement_rank_record *record) {
    const placement_table *table = &plan->table_[PLACEMENT_RANKS];
    if (rank >= table->count) return PLACEMENT_E_RANGE;
    const unsigned char *at = table->at + (uint64_t)rank * table->width;
    record->rank = placement_u32_(at + 0);
    record->host = placement_u32_(at + 4);
    record->node = placement_u32_(at + 8);
    record->domain = placement_u32_(at + 12);
    record->slot = placement_u16_(at + 16);
    record->local_rank = placement_u16_(at + 18);
    record->rail = placement_u16_(at + 20);
    record->stage = placement_u16_(at + 22);
    record->dp = placement_u32_(at + 24);
    record->ep = placement_u32_(at + 28);
    record->edp = placement_u32_(at + 32);
    record->tp = placement_u16_(at + 36);
    record->cp = placement_u16_(at + 38);
    record->etp = placement_u16_(at + 40);
    record->gtp = placement_u16_(at + 42);
    record->egtp = placement_u16_(at + 44);
    record->unused = placement_u16_(at + 46);
    record->gpu = placement_u32_(at + 48);
    record->reserved[0] = placement_u32_(at + 52);
    record->reserved[1] = placement_u32_(at + 56);
    record->reserved[2] = placement_u32_(at + 60);
    if (record->rank != rank || record->host >= plan->num_hosts || record->domain >= plan->num_domains ||
        record->slot >= plan->gpus_per_node || record->local_rank >= plan->gpus_per_node || record->rail >= plan->num_nics ||
        record->stage >= plan->num_stages)
        return PLACEMENT_E_DAMAGED;
    return PLACEMENT_OK;
}

static inline int placement_get_host(const placement_plan *plan, uint32_t host, placement_host_record *record) {
    if (placement_read_(plan, PLACEMENT_HOSTS, host, record, sizeof *record)) return PLACEMENT_E_RANGE;
    return record->domain < plan->num_domains ? PLACEMENT_OK : PLACEMENT_E_DAMAGED;
}

static inline int placement_get_domain(const placement_plan *plan, uint32_t domain, placement_domain_record *record) {
    return placement_read_(plan, PLACEMENT_DOMAINS, domain, record, sizeof *record);
}

/* A NIC by rail. Its name is that of the device, such as mlx5_2. */
static inline int placement_get_nic(const placement_plan *plan, uint32_t rail, placement_nic_record *record) {
    return placement_read_(plan, PLACEMENT_NICS, rail, record, sizeof *record);
}

static inline int placement_get_stage(const placement_plan *plan, uint32_t stage, placement_stage_record *record) {
    return placement_read_(plan, PLACEMENT_STAGES, stage, record, sizeof *record);
}

/* A chunk (virtual stage), in model order. Its layers are inside LAYERS. */
static inline int placement_get_chunk(const placement_plan *plan, uint32_t chunk, placement_chunk_record *record) {
    if (placement_read_(plan, PLACEMENT_CHUNKS, chunk, record, sizeof *record)) return PLACEMENT_E_RANGE;
    if (record->stage >= plan->num_stages || (uint64_t)record->first_layer + record->num_layers > plan->num_layers)
        return PLACEMENT_E_DAMAGED;
    return PLACEMENT_OK;
}

/* The next chunk of a stage, in model order: start with *cursor = 0 and call until PLACEMENT_E_NOT_FOUND.
 *
 *     for (cursor = 0; !placement_next_chunk(&plan, me.stage, &cursor, &chunk);)
 *         for (layer = chunk.first_layer; layer < chunk.first_layer + chunk.num_layers; ++layer) ...
 */
static inline int placement_next_chunk(const placement_plan *plan, uint32_t stage, uint32_t *cursor,
                                       placement_chunk_record *record) {
    while (*cursor < plan->num_chunks) {
        const int error = placement_get_chunk(plan, (*cursor)++, record);
        if (error || record->stage == stage) return error;
    }
    return PLACEMENT_E_NOT_FOUND;
}

static inline int placement_get_layer(const placement_plan *plan, uint32_t layer, placement_layer_record *record) {
    if (placement_read_(plan, PLACEMENT_LAYERS, layer, record, sizeof *record)) return PLACEMENT_E_RANGE;
    return record->chunk < plan->num_chunks && record->stage < plan->num_stages ? PLACEMENT_OK : PLACEMENT_E_DAMAGED;
}

static inline int placement_get_spare(const placement_plan *plan, uint32_t spare, placement_spare_record *record) {
    if (placement_read_(plan, PLACEMENT_SPARES, spare, record, sizeof *record)) return PLACEMENT_E_RANGE;
    return record->domain < plan->num_domains && record->rail < plan->num_nics ? PLACEMENT_OK : PLACEMENT_E_DAMAGED;
}

/* Order of two names as bytes; the end of a name counts as NULs. */
static inline int placement_compare_(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size) {
    const size_t both = a_size < b_size ? a_size : b_size;
    const int order = both ? memcmp(a, b, both) : 0;
    if (order) return order;
    if (a_size > b_size) return !placement_zeros_(a, both, a_size);
    return -!placement_zeros_(b, both, b_size);
}

/* Index of a host by name: binary search. */
static inline int placement_find_host(const placement_plan *plan, const char *name, uint32_t *host) {
    const size_t size = strlen(name);
    uint32_t low = 0, high = plan->num_hosts;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        placement_host_record record;
        const int error = placement_get_host(plan, middle, &record);
        const char *found = error ? NULL : placement_name(plan, record.name, record.name_size);
        if (!found) return PLACEMENT_E_DAMAGED;
        const int order = placement_compare_((const unsigned char *)found, record.name_size, (const unsigned char *)name, size);
        if (order == 0) {
            *host = middle;
            return PLACEMENT_OK;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return PLACEMENT_E_NOT_FOUND;
}

/* The rank on a GPU slot of a host; PLACEMENT_E_NOT_FOUND where the slot has none. */
static inline int placement_find_rank(const placement_plan *plan, uint32_t host, uint32_t slot, uint32_t *rank) {
    if (host >= plan->num_hosts || slot >= plan->gpus_per_node) return PLACEMENT_E_RANGE;
    const uint32_t found = placement_read_u32_(plan, PLACEMENT_SLOTS, (uint64_t)host * plan->gpus_per_node + slot);
    if (found == PLACEMENT_NONE) return PLACEMENT_E_NOT_FOUND;
    if (found >= plan->world_size) return PLACEMENT_E_DAMAGED;
    *rank = found;
    return PLACEMENT_OK;
}

/* ----------------------------------------------------------------------------------------------------------- communicators */

/* One communicator: `size` members, of which this rank (where one was given) is number `index`. */
typedef struct placement_group {
    const char *name;      /* of its kind: tp, dp_cp, ... */
    uint32_t communicator; /* its kind: index for placement_get_communicator */
    uint32_t group;        /* which of that kind, 0 to num_groups - 1 */
    uint32_t size, index;  /* members; PLACEMENT_NONE where no rank was given */
    uint32_t kind_, first_, inner_size_, inner_stride_, outer_stride_;
    uint64_t members_;
} placement_group;

static inline int placement_arithmetic_fits_(const placement_communicator_record *c, uint64_t world) {
    const uint64_t n0 = c->inner_size, s0 = c->inner_stride, n1 = c->outer_size, s1 = c->outer_stride;
    if (!n0 || !s0 || !n1 || !s1 || s1 % (n0 * s0) || world % (n1 * s1)) return 0;
    return n0 * n1 == c->size && (uint64_t)c->num_groups * c->size == world;
}

static inline int placement_list_fits_(const placement_communicator_record *c, uint64_t world, uint64_t entries) {
    if (!c->num_groups || !c->size || c->members > entries || c->index > entries) return 0;
    return (uint64_t)c->num_groups * c->size <= entries - c->members && world <= entries - c->index;
}

/* A kind of communicator, in the order in which a runtime should make them. */
static inline int placement_get_communicator(const placement_plan *plan, uint32_t index,
                                             placement_communicator_record *record) {
    if (placement_read_(plan, PLACEMENT_COMMUNICATORS, index, record, sizeof *record)) return PLACEMENT_E_RANGE;
    if (record->kind == PLACEMENT_ARITHMETIC)
        return placement_arithmetic_fits_(record, plan->world_size) ? PLACEMENT_OK : PLACEMENT_E_DAMAGED;
    if (record->kind != PLACEMENT_LISTED) return PLACEMENT_E_DAMAGED;
    return placement_list_fits_(record, plan->world_size, plan->table_[PLACEMENT_MEMBERS].count) ? PLACEMENT_OK
                                                                                                 : PLACEMENT_E_DAMAGED;
}

/* Index of a kind of communicator by name: "tp", "dp_cp", ... */
static inline int placement_find_communicator(const placement_plan *plan, const char *name, uint32_t *index) {
    for (uint32_t i = 0; i < plan->num_communicators; ++i) {
        placement_communicator_record record;
        const int error = placement_get_communicator(plan, i, &record);
        const char *found = error ? NULL : placement_name(plan, record.name, record.name_size);
        if (!found) return PLACEMENT_E_DAMAGED;
        if (strcmp(found, name) == 0) {
            *index = i;
            return PLACEMENT_OK;
        }
    }
    return PLACEMENT_E_NOT_FOUND;
}

/* Member `index` of a communicator. */
static inline int placement_get_member(const placement_plan *plan, const placement_group *group, uint32_t index,
                                       uint32_t *rank) {
    uint64_t found;
    if (index >= group->size) return PLACEMENT_E_RANGE;
    if (group->kind_ == PLACEMENT_LISTED) {
        const uint64_t at = group->members_ + index;
        if (at >= plan->table_[PLACEMENT_MEMBERS].count) return PLACEMENT_E_RANGE;
        found = placement_read_u32_(plan, PLACEMENT_MEMBERS, at);
    } else {
        const uint32_t inner = index % group->inner_size_, outer = index / group->inner_size_;
        found = group->first_ + (uint64_t)inner * group->inner_stride_ + (uint64_t)outer * group->outer_stride_;
    }
    if (found >= plan->world_size) return PLACEMENT_E_DAMAGED;
    *rank = (uint32_t)found;
    return PLACEMENT_OK;
}

static inline int placement_group_start_(const placement_plan *plan, uint32_t communicator, placement_communicator_record *c,
                                         placement_group *group) {
    const int error = placement_get_communicator(plan, communicator, c);
    if (error) return error;
    memset(group, 0, sizeof *group);
    group->name = placement_name(plan, c->name, c->name_size);
    group->communicator = communicator;
    group->size = c->size;
    group->index = PLACEMENT_NONE;
    group->kind_ = c->kind;
    group->inner_size_ = c->inner_size;
    group->inner_stride_ = c->inner_stride;
    group->outer_stride_ = c->outer_stride;
    return group->name ? PLACEMENT_OK : PLACEMENT_E_DAMAGED;
}

/* Communicator number `number` of a kind. Groups are numbered in the order of their first members. */
static inline int placement_get_group(const placement_plan *plan, uint32_t communicator, uint32_t number,
                                      placement_group *group) {
    placement_communicator_record c;
    const int error = placement_group_start_(plan, communicator, &c, group);
    if (error) return error;
    if (number >= c.num_groups) return PLACEMENT_E_RANGE;
    group->group = number;
    if (c.kind == PLACEMENT_LISTED) {
        group->members_ = c.members + (uint64_t)number * c.size;
    } else {
        const uint64_t s0 = c.inner_stride, block = (uint64_t)c.inner_size * s0, gap = c.outer_stride / block;
        group->first_ = (uint32_t)(number % s0 + block * (number / s0 % gap) +
                                   (uint64_t)c.outer_size * c.outer_stride * (number / (s0 * gap)));
    }
    return PLACEMENT_OK;
}

/* The communicator of a kind that a rank is in, and its own number there; PLACEMENT_E_NOT_FOUND where it is in none.
 *
 *     for (i = 0; i < plan.num_communicators; ++i)
 *         if (!placement_group_of(&plan, i, rank, &group))
 *             for (k = 0; k < group.size; ++k) placement_get_member(&plan, &group, k, &member), ...
 */
static inline int placement_group_of(const placement_plan *plan, uint32_t communicator, uint32_t rank, placement_group *group) {
    placement_communicator_record c;
    int error = placement_group_start_(plan, communicator, &c, group);
    if (error) return error;
    if (rank >= plan->world_size) return PLACEMENT_E_RANGE;
    if (c.kind == PLACEMENT_LISTED) {
        const uint32_t number = placement_read_u32_(plan, PLACEMENT_MEMBERS, c.index + rank);
        if (number == PLACEMENT_NONE) return PLACEMENT_E_NOT_FOUND;
        if (number >= c.num_groups) return PLACEMENT_E_DAMAGED;
        group->group = number;
        group->members_ = c.members + (uint64_t)number * c.size;
        for (uint32_t i = 0, member; i < c.size; ++i) {
            if ((error = placement_get_member(plan, group, i, &member))) return error;
            if (member == rank) {
                group->index = i;
                return PLACEMENT_OK;
            }
        }
        return PLACEMENT_E_DAMAGED; /* the list does not hold the rank that points to it */
    }
    const uint64_t s0 = c.inner_stride, n0 = c.inner_size, s1 = c.outer_stride, n1 = c.outer_size, gap = s1 / (n0 * s0);
    const uint64_t inner = rank / s0 % n0, outer = rank / s1 % n1, first = rank - inner * s0 - outer * s1;
    group->first_ = (uint32_t)first;
    group->index = (uint32_t)(inner + n0 * outer);
    group->group = (uint32_t)(first % s0 + s0 * (first / (n0 * s0) % gap + gap * (first / (n1 * s1))));
    return PLACEMENT_OK;
}

/* ------------------------------------------------------------------------------------------------------------ whole check */

/* A name stands between two NULs and holds none. */
static inline int placement_check_name_(const placement_plan *plan, uint32_t name, uint32_t name_size) {
    const char *text = placement_name(plan, name, name_size);
    return text && (name == 0 || text[-1] == 0) && memchr(text, 0, (size_t)name_size + 1) == text + name_size;
}

/* Bytes of the UTF-8 sequence at `at` (RFC 3629: shortest form, no surrogates, at most U+10FFFF), or 0. */
static inline uint64_t placement_utf8_(const unsigned char *at, uint64_t room) {
    const unsigned char lead = at[0];
    const uint64_t size = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (size > room) return 0;
    for (uint64_t i = 1; i < size; ++i)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F)) return 0;
    if ((lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F)) return 0;
    return size;
}

static inline int placement_check_text_(const placement_plan *plan) {
    const placement_table *names = &plan->table_[PLACEMENT_NAMES];
    for (uint64_t i = 0, size; i < names->count; i += size) {
        if (names->count - i >= 8 && !(placement_u64_(names->at + i) & UINT64_C(0x8080808080808080)))
            size = 8; /* ASCII */
        else if (!(size = placement_utf8_(names->at + i, names->count - i)))
            return PLACEMENT_E_DAMAGED;
    }
    return PLACEMENT_OK;
}

static inline int placement_check_ranks_(const placement_plan *plan) {
    placement_rank_record record;
    for (uint32_t i = 0; i < plan->world_size; ++i)
        if (placement_get_rank(plan, i, &record)) return PLACEMENT_E_DAMAGED;
    const uint64_t slots = plan->table_[PLACEMENT_SLOTS].count;
    for (uint64_t i = 0; i < slots; ++i) {
        const uint32_t rank = placement_read_u32_(plan, PLACEMENT_SLOTS, i);
        if (rank >= plan->world_size && rank != PLACEMENT_NONE) return PLACEMENT_E_DAMAGED;
    }
    return PLACEMENT_OK;
}

static inline int placement_check_hosts_(const placement_plan *plan) {
    const unsigned char *names = plan->table_[PLACEMENT_NAMES].at;
    placement_host_record record, last;
    memset(&last, 0, sizeof last);
    for (uint32_t i = 0; i < plan->num_hosts; ++i) {
        if (placement_get_host(plan, i, &record) || !placement_check_name_(plan, record.name, record.name_size))
            return PLACEMENT_E_DAMAGED;
        if (i && placement_compare_(names + last.name, last.name_size, names + record.name, record.name_size) >= 0)
            return PLACEMENT_E_DAMAGED;
        last = record;
    }
    return PLACEMENT_OK;
}

static inline int placement_check_fabric_(const placement_plan *plan) {
    placement_domain_record domain;
    placement_nic_record nic;
    placement_spare_record spare;
    for (uint32_t i = 0; i < plan->num_domains; ++i)
        if (placement_get_domain(plan, i, &domain) || !placement_check_name_(plan, domain.name, domain.name_size))
            return PLACEMENT_E_DAMAGED;
    for (uint32_t i = 0; i < plan->num_nics; ++i)
        if (placement_get_nic(plan, i, &nic) || !placement_check_name_(plan, nic.name, nic.name_size))
            return PLACEMENT_E_DAMAGED;
    for (uint32_t i = 0; i < plan->num_spares; ++i)
        if (placement_get_spare(plan, i, &spare) || !placement_check_name_(plan, spare.name, spare.name_size))
            return PLACEMENT_E_DAMAGED;
    return PLACEMENT_OK;
}

static inline int placement_check_model_(const placement_plan *plan) {
    placement_chunk_record chunk;
    placement_layer_record layer;
    for (uint32_t i = 0; i < plan->num_chunks; ++i)
        if (placement_get_chunk(plan, i, &chunk)) return PLACEMENT_E_DAMAGED;
    for (uint32_t i = 0; i < plan->num_layers; ++i)
        if (placement_get_layer(plan, i, &layer) || !placement_check_name_(plan, layer.name, layer.name_size) ||
            !placement_check_name_(plan, layer.type_name, layer.type_name_size))
            return PLACEMENT_E_DAMAGED;
    return PLACEMENT_OK;
}

static inline int placement_check_communicators_(const placement_plan *plan) {
    placement_communicator_record c;
    for (uint32_t i = 0; i < plan->num_communicators; ++i) {
        if (placement_get_communicator(plan, i, &c) || !placement_check_name_(plan, c.name, c.name_size))
            return PLACEMENT_E_DAMAGED;
        if (c.kind != PLACEMENT_LISTED) continue;
        for (uint64_t k = 0; k < (uint64_t)c.num_groups * c.size; ++k)
            if (placement_read_u32_(plan, PLACEMENT_MEMBERS, c.members + k) >= plan->world_size) return PLACEMENT_E_DAMAGED;
        for (uint64_t k = 0; k < plan->world_size; ++k) {
            const uint32_t group = placement_read_u32_(plan, PLACEMENT_MEMBERS, c.index + k);
            if (group >= c.num_groups && group != PLACEMENT_NONE) return PLACEMENT_E_DAMAGED;
        }
    }
    return PLACEMENT_OK;
}

/* The whole file: every CRC-32C, then every index and name of every table. Touches every byte once or twice. */
static inline int placement_check(const placement_plan *plan) {
    if (!plan->world_size) return PLACEMENT_E_RANGE; /* not open */
    for (int i = PLACEMENT_STRATEGY; i < PLACEMENT_NUM_SECTIONS_; ++i)
        if (!placement_crc_matches_(&plan->table_[i])) return PLACEMENT_E_CHECKSUM;
    int error = placement_check_ranks_(plan);
    if (!error) error = placement_check_text_(plan);
    if (!error) error = placement_check_hosts_(plan);
    if (!error) error = placement_check_fabric_(plan);
    if (!error) error = placement_check_model_(plan);
    if (!error) error = placement_check_communicators_(plan);
    return error;
}

/* ------------------------------------------------------------------------------------------------------------------- words */

static inline const char *placement_schedule_name(uint32_t schedule) {
    static const char *const name[] = {"1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev"};
    return schedule < sizeof name / sizeof *name ? name[schedule] : "unknown";
}

static inline const char *placement_recompute_name(uint32_t recompute) {
    static const char *const name[] = {"none", "selective", "full"};
    return recompute < sizeof name / sizeof *name ? name[recompute] : "unknown";
}

static inline const char *placement_sharding_name(uint32_t sharding) {
    static const char *const name[] = {"none", "zero1", "zero2", "fsdp"};
    return sharding < sizeof name / sizeof *name ? name[sharding] : "unknown";
}

/* The digest as 64 hexadecimal digits and a NUL. */
static inline void placement_digest_text(const placement_plan *plan, char text[65]) {
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; ++i) {
        text[2 * i] = digit[plan->digest[i] >> 4];
        text[2 * i + 1] = digit[plan->digest[i] & 15];
    }
    text[64] = '\0';
}

#endif /* PLACEMENT_PLAN_H */
