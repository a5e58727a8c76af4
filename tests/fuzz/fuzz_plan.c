/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes placement_plan.h. Whatever bytes it is given, opening, checking and reading a plan stays inside them (AddressSanitizer
 * and UndefinedBehaviorSanitizer watch), and what placement_check accepts is consistent.
 *
 * Damage alone would never get past the checksums, so seven mutants of eight get their checksums put right: hostile files.
 *
 * libFuzzer:  `make fuzz`, which is clang -g -O1 -fsanitize=fuzzer,address,undefined, 10,000,000 runs
 * no clang:   gcc -g -O1 -fsanitize=address,undefined -DPLAIN_DRIVER -I placement/runtime tests/fuzz/fuzz_plan.c -o fuzz_plan
 *             ./fuzz_plan RUNS SEED FILE...
 */
#include "placement_plan.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(fact) ((fact) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #fact, __LINE__), abort()))

enum { MOST = 96 }; /* records of a table that are read, so that a run stays short */

static uint32_t least(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

static volatile unsigned sink;

/* Reads a name as a caller would: to its NUL. */
static void read_name(const placement_plan *plan, uint32_t name, uint32_t size, int valid) {
    const char *text = placement_name(plan, name, size);
    if (valid) REQUIRE(text);
    if (!text) return;
    REQUIRE(text[size] == '\0' && strlen(text) <= size);
    sink += (unsigned)strlen(text);
}

static void read_group(const placement_plan *plan, const placement_group *group, int valid) {
    for (uint32_t k = 0, rank; k < least(group->size, MOST); ++k) {
        const int error = placement_get_member(plan, group, k, &rank);
        if (valid) REQUIRE(!error);
        if (!error) REQUIRE(rank < plan->world_size);
    }
    uint32_t rank;
    REQUIRE(placement_get_member(plan, group, group->size, &rank) == PLACEMENT_E_RANGE);
}

static void read_communicators(const placement_plan *plan, int valid) {
    for (uint32_t i = 0; i < least(plan->num_communicators, MOST); ++i) {
        placement_communicator_record c;
        placement_group group, same;
        if (placement_get_communicator(plan, i, &c)) {
            REQUIRE(!valid);
            continue;
        }
        read_name(plan, c.name, c.name_size, valid);
        for (uint32_t g = 0; g < least(c.num_groups, 8); ++g)
            if (!placement_get_group(plan, i, g, &group)) read_group(plan, &group, valid);
        REQUIRE(placement_get_group(plan, i, c.num_groups, &group));
        for (uint32_t r = 0; r < least(plan->world_size, 16); ++r) {
            if (placement_group_of(plan, i, r, &group)) continue;
            uint32_t rank;
            REQUIRE(group.index < group.size && group.group < c.num_groups);
            REQUIRE(!placement_get_member(plan, &group, group.index, &rank) && rank == r);
            REQUIRE(!placement_get_group(plan, i, group.group, &same));
            REQUIRE(same.first_ == group.first_ && same.members_ == group.members_);
        }
        REQUIRE(placement_group_of(plan, i, plan->world_size, &group));
    }
    uint32_t found;
    sink += (unsigned)placement_find_communicator(plan, "dp_cp", &found);
}

static void read_ranks(const placement_plan *plan, int valid) {
    placement_rank_record rank;
    placement_host_record host;
    placement_domain_record domain;
    placement_nic_record nic;
    for (uint32_t r = 0; r < least(plan->world_size, MOST); ++r) {
        if (placement_get_rank(plan, r, &rank)) {
            REQUIRE(!valid);
            continue;
        }
        const int error = placement_get_host(plan, rank.host, &host);
        if (valid) REQUIRE(!error);
        if (!error) read_name(plan, host.name, host.name_size, valid);
        REQUIRE(!placement_get_domain(plan, rank.domain, &domain) && !placement_get_nic(plan, rank.rail, &nic));
        read_name(plan, domain.name, domain.name_size, valid);
        read_name(plan, nic.name, nic.name_size, valid);
        placement_stage_record stage;
        placement_chunk_record chunk;
        REQUIRE(!placement_get_stage(plan, rank.stage, &stage));
        for (uint32_t cursor = 0; !placement_next_chunk(plan, rank.stage, &cursor, &chunk);)
            REQUIRE((uint64_t)chunk.first_layer + chunk.num_layers <= plan->num_layers);
    }
    REQUIRE(placement_get_rank(plan, plan->world_size, &rank) == PLACEMENT_E_RANGE);
    REQUIRE(placement_get_rank(plan, PLACEMENT_NONE, &rank) == PLACEMENT_E_RANGE);
}

static void read_hosts(const placement_plan *plan, int valid) {
    placement_host_record host;
    uint32_t found, rank;
    for (uint32_t h = 0; h < least(plan->num_hosts, MOST); ++h) {
        if (!placement_get_host(plan, h, &host)) {
            const char *name = placement_name(plan, host.name, host.name_size);
            const int error = name ? placement_find_host(plan, name, &found) : PLACEMENT_E_DAMAGED;
            if (valid && strlen(name) == host.name_size) REQUIRE(!error && found == h);
        }
        for (uint32_t slot = 0; slot <= least(plan->gpus_per_node, MOST); ++slot) {
            const int error = placement_find_rank(plan, h, slot, &rank);
            if (!error) REQUIRE(rank < plan->world_size);
            if (valid) REQUIRE(error != PLACEMENT_E_DAMAGED);
        }
    }
    REQUIRE(placement_find_rank(plan, plan->num_hosts, 0, &rank) == PLACEMENT_E_RANGE);
    sink += (unsigned)placement_find_host(plan, "", &found) + (unsigned)placement_find_host(plan, "leaf0001-node01", &found);
}

static void read_model(const placement_plan *plan, int valid) {
    placement_layer_record layer;
    placement_spare_record spare;
    placement_strategy_record strategy;
    for (uint32_t i = 0; i < least(plan->num_layers, MOST); ++i) {
        if (placement_get_layer(plan, i, &layer)) continue;
        read_name(plan, layer.name, layer.name_size, valid);
        read_name(plan, layer.type_name, layer.type_name_size, valid);
    }
    for (uint32_t i = 0; i < least(plan->num_spares, MOST); ++i)
        if (!placement_get_spare(plan, i, &spare)) read_name(plan, spare.name, spare.name_size, valid);
    REQUIRE(!placement_get_strategy(plan, &strategy));
    sink +=
        (unsigned)(strlen(placement_schedule_name(strategy.schedule)) + strlen(placement_recompute_name(strategy.recompute)));
    sink += (unsigned)strlen(placement_sharding_name(strategy.sharding));
}

static unsigned long opened, accepted, errors[16];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    placement_plan plan;
    char digest[65];
    const int error = placement_open_memory(&plan, data, size);
    ++errors[error];
    REQUIRE(strlen(placement_error(error)) > 0);
    if (error) {
        placement_rank_record rank;
        REQUIRE(placement_get_rank(&plan, 0, &rank) == PLACEMENT_E_RANGE && placement_check(&plan) == PLACEMENT_E_RANGE);
        return 0;
    }
    const int valid = placement_check(&plan) == PLACEMENT_OK;
    ++opened;
    accepted += (unsigned long)valid;
    read_ranks(&plan, valid);
    read_hosts(&plan, valid);
    read_communicators(&plan, valid);
    read_model(&plan, valid);
    placement_digest_text(&plan, digest);
    REQUIRE(strlen(digest) == 64);
    placement_close(&plan);
    return 0;
}

/* ------------------------------------------------------------------------------------------------- mutants with right sums */

static void put_u32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }
static void put_u64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof value); }

/* Makes all checksums and the file size right, as far as the section table makes sense. */
static void reseal(uint8_t *data, size_t size) {
    if (size < 128) return;
    put_u64(data + 16, size);
    const uint64_t count = placement_u32_(data + 28), table = placement_u64_(data + 32), width = placement_u32_(data + 40);
    if (count <= PLACEMENT_MAX_SECTIONS && width >= 32 && table <= size && count * width <= size - table) {
        for (uint64_t i = 0; i < count; ++i) {
            uint8_t *entry = data + table + i * width;
            const uint64_t element = placement_u32_(entry + 4), at = placement_u64_(entry + 8), n = placement_u64_(entry + 16);
            if (element && at <= size && n <= (size - at) / element)
                put_u32(entry + 24, placement_crc32c(data + at, (size_t)(n * element)));
        }
        put_u32(data + 120, placement_crc32c(data + table, (size_t)(count * width)));
    }
    put_u32(data + 124, placement_crc32c(data, 124));
}

static uint32_t draw(uint64_t *state) { /* PCG, O'Neill 2014 */
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const uint32_t mixed = (uint32_t)(((*state >> 18) ^ *state) >> 27), turn = (uint32_t)(*state >> 59);
    return (mixed >> turn) | (mixed << ((32 - turn) & 31));
}

/* A field of the header, of the section table, or of a record gets a value that is likely to hurt. */
static void hurt(uint8_t *data, size_t size, uint64_t *state) {
    static const uint32_t bad[] = {0,   1,     2,     3,          7,          63,         64,         127,       128,
                                   255, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFE, 0xFFFFFFFF};
    if (size < 8) return;
    size_t at = draw(state) % (uint32_t)(size - 7) & ~(size_t)3;
    if (draw(state) % 4 == 0)
        at = draw(state) % 136 & ~3u; /* the header more often than its share */
    else if (draw(state) % 4 == 0)
        at = 128 + (draw(state) % 416 & ~3u);
    if (at + 8 > size) return;
    const uint32_t value =
        draw(state) % 2 ? bad[draw(state) % (sizeof bad / sizeof *bad)] : placement_u32_(data + at) + draw(state) % 5 - 2;
    switch (draw(state) % 4) {
    case 0: data[at] ^= (uint8_t)(1u << draw(state) % 8); break;
    case 1: data[at + draw(state) % 4] = (uint8_t)draw(state); break;
    case 2: put_u32(data + at, value); break;
    default: put_u64(data + at, draw(state) % 2 ? value : ~(uint64_t)value);
    }
}

static void report(void) {
    printf("opened %lu accepted %lu\n", opened, accepted);
    for (int i = 1; i < 10; ++i) printf("  %-60s %lu\n", placement_error(i), errors[i]);
}

#ifndef PLAIN_DRIVER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    return atexit(report);
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed) {
    uint64_t state = seed;
    if (draw(&state) % 2) size = LLVMFuzzerMutate(data, size, room);
    for (uint32_t n = draw(&state) % 4; n; --n) hurt(data, size, &state);
    if (draw(&state) % 8) reseal(data, size);
    return size;
}

#else

enum { ROOM = 1 << 17 };

/* Bytes move: cut short, lengthened, or a piece copied over another. Returns the new size. */
static size_t shift(uint8_t *data, size_t size, uint64_t *state) {
    switch (draw(state) % 16) {
    case 0: return draw(state) % (uint32_t)(size + 1);
    case 1: {
        const size_t more = size + draw(state) % 256;
        if (more > ROOM) return size;
        memset(data + size, 0, more - size);
        return more;
    }
    case 2: {
        if (size < 64) return size;
        const size_t n = draw(state) % 64, from = draw(state) % (uint32_t)(size - n), to = draw(state) % (uint32_t)(size - n);
        memmove(data + to, data + from, n);
        return size;
    }
    default: return size;
    }
}

int main(int argc, char **argv) {
    static uint8_t data[ROOM], seeds[16][ROOM];
    size_t sizes[16];
    uint32_t num_seeds = 0;
    if (argc < 4) return 64;
    const unsigned long runs = strtoul(argv[1], NULL, 10);
    uint64_t state = strtoull(argv[2], NULL, 10);
    for (int i = 3; i < argc && num_seeds < 16; ++i) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) return 66;
        sizes[num_seeds] = fread(seeds[num_seeds], 1, ROOM, file);
        ++num_seeds;
        fclose(file);
    }
    for (unsigned long run = 0; run < runs; ++run) {
        const uint32_t seed = draw(&state) % num_seeds;
        size_t size = sizes[seed];
        memcpy(data, seeds[seed], size);
        size = shift(data, size, &state);
        for (uint32_t n = run % num_seeds == run ? 0 : 1 + draw(&state) % 4; n; --n) hurt(data, size, &state);
        if (draw(&state) % 8) reseal(data, size);
        uint8_t *exact = malloc(size ? size : 1); /* so that one byte too far is seen */
        if (!exact) return 71;
        memcpy(exact, data, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    printf("runs %lu\n", runs);
    report();
    return 0;
}

#endif
