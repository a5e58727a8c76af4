/* SPDX-License-Identifier: Apache-2.0
 *
 * The communicators of a plan on GPUs: what a training stack in C with NCCL does with plan.bin.
 *
 *     placement-exec --all-local PLAN nccl_step PLAN.BIN ID_FILE [--bytes N] [--spoil RANK]
 *
 * It maps plan.bin, takes RANK and LOCAL_RANK from placement-exec, makes one NCCL communicator of all ranks and splits it into
 * every communicator that the plan names, in the order in which it names them. On each it runs all-reduce, all-gather,
 * reduce-scatter, all-to-all, and send/recv around the group, and checks every word that arrives: it says which member sent
 * it. --spoil makes one rank send one wrong word, which must be found. Exit code 1: a word came from elsewhere than the plan
 * says. Each rank times its set-up and its collectives; rank 0 prints the slowest.
 *
 * ID_FILE is a path that all hosts share and that does not exist: rank 0 writes the identifier of the job there.
 *
 * Build: nvcc -O2 -I "$(placement runtime)" nccl_step.c -o nccl_step -lnccl
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "placement_plan.h"

#include <cuda_runtime.h>
#include <inttypes.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_KINDS = 64, WAIT_S = 60, TURNS = 20 };
enum what { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, ALL_TO_ALL, SEND_RECV, NUM_WHAT };
static const char *const what_names[NUM_WHAT] = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "send-recv"};

static placement_plan plan;
static placement_rank_record me;
static cudaStream_t stream;
static int64_t spoiler = -1;
static size_t words = 4096; /* from each member to each, and in each reduced part */
static uint64_t checked, wrong;
static char first_wrong[160];

static void stop(int code, const char *text) {
    fprintf(stderr, "nccl_step: rank %u: %s\n", me.rank, text);
    exit(code);
}

static void need(int error) {
    if (error) stop(65, placement_error(error));
}

static void cuda(cudaError_t error) {
    if (error != cudaSuccess) stop(71, cudaGetErrorString(error));
}

static void nccl(ncclResult_t error) {
    if (error != ncclSuccess) stop(71, ncclGetErrorString(error));
}

static void *room(size_t bytes) {
    void *at = malloc(bytes ? bytes : 1);
    if (!at) stop(71, "out of memory");
    return at;
}

static double now(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------------------- rendezvous */

static void write_id(const char *path, const ncclUniqueId *id) {
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.part", path) >= (int)sizeof temporary) stop(64, "the path is too long");
    FILE *file = fopen(temporary, "wb");
    if (!file || fwrite(id, sizeof *id, 1, file) != 1 || fclose(file)) stop(71, "the identifier cannot be written");
    if (rename(temporary, path)) stop(71, "the identifier cannot be written"); /* whole or not at all */
}

static void read_id(const char *path, ncclUniqueId *id) {
    const struct timespec pause = {0, 20 * 1000 * 1000};
    FILE *file = NULL;
    for (int i = 0; i < 50 * WAIT_S && !(file = fopen(path, "rb")); ++i) nanosleep(&pause, NULL);
    if (!file || fread(id, sizeof *id, 1, file) != 1) stop(71, "rank 0 has written no identifier");
    fclose(file);
}

static ncclComm_t join_world(const char *path) {
    ncclUniqueId id;
    ncclComm_t world;
    if (me.rank == 0) {
        nccl(ncclGetUniqueId(&id));
        write_id(path, &id);
    } else {
        read_id(path, &id);
    }
    nccl(ncclCommInitRank(&world, (int)plan.world_size, id, (int)me.rank));
    return world;
}

/* ----------------------------------------------------------------------------------------------------- words with a sender */

static uint32_t word(uint32_t from, uint32_t to, uint32_t label, size_t place) { /* splitmix64, Steele et al. 2014 */
    uint64_t x = ((uint64_t)from << 40) ^ ((uint64_t)to << 16) ^ label ^ ((uint64_t)place << 20);
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(x ^ (x >> 31));
}

/* What `from` gives: for each member its own words where the collective has receivers, else words for all. */
static uint32_t given(const placement_group *g, uint32_t from, enum what what, size_t place) {
    const uint32_t to = what == ALL_TO_ALL || what == SEND_RECV ? (uint32_t)(place / words) : 0;
    return word(from, to, g->communicator * NUM_WHAT + (uint32_t)what, place);
}

static uint32_t expected(const placement_group *g, const uint32_t *member, enum what what, size_t place) {
    const size_t k = place / words, at = place % words, n = g->size;
    if (what == ALL_GATHER) return given(g, member[k], what, at);
    if (what == ALL_TO_ALL) return given(g, member[k], what, g->index * words + at);
    if (what == SEND_RECV) return given(g, member[(g->index + n - 1) % n], what, g->index * words + at);
    const size_t part = what == REDUCE_SCATTER ? g->index * words + at : place;
    uint32_t sum = 0; /* modulo 2^32, so the order of additions does not matter */
    for (uint32_t m = 0; m < n; ++m) sum += given(g, member[m], what, part);
    return sum;
}

/* ------------------------------------------------------------------------------------------------------------ collectives */

static void run(ncclComm_t comm, const placement_group *g, enum what what, const uint32_t *out, uint32_t *in) {
    const size_t n = g->size;
    const int next = (int)((g->index + 1) % n), before = (int)((g->index + n - 1) % n);
    if (what == ALL_REDUCE) nccl(ncclAllReduce(out, in, n * words, ncclUint32, ncclSum, comm, stream));
    if (what == ALL_GATHER) nccl(ncclAllGather(out, in, words, ncclUint32, comm, stream));
    if (what == REDUCE_SCATTER) nccl(ncclReduceScatter(out, in, words, ncclUint32, ncclSum, comm, stream));
    if (what != ALL_TO_ALL && what != SEND_RECV) return;
    nccl(ncclGroupStart());
    for (size_t k = 0; k < n; ++k) {
        if (what == SEND_RECV && (int)k == next) nccl(ncclSend(out + k * words, words, ncclUint32, (int)k, comm, stream));
        if (what == SEND_RECV && (int)k == before) nccl(ncclRecv(in, words, ncclUint32, (int)k, comm, stream));
        if (what == ALL_TO_ALL) nccl(ncclSend(out + k * words, words, ncclUint32, (int)k, comm, stream));
        if (what == ALL_TO_ALL) nccl(ncclRecv(in + k * words, words, ncclUint32, (int)k, comm, stream));
    }
    nccl(ncclGroupEnd());
}

static size_t received(const placement_group *g, enum what what) {
    return what == REDUCE_SCATTER || what == SEND_RECV ? words : words * g->size;
}

static void check(const placement_group *g, const uint32_t *member, enum what what, const uint32_t *in) {
    for (size_t i = 0; i < received(g, what); ++i) {
        if (in[i] == expected(g, member, what, i)) continue;
        if (!wrong++) snprintf(first_wrong, sizeof first_wrong, "rank %u: %s of %s: word %zu is wrong", me.rank,
                               what_names[what], g->name, i);
    }
    checked += received(g, what);
}

/* One collective, checked; then some more, timed. Returns seconds of one. */
static double exercise(ncclComm_t comm, const placement_group *g, const uint32_t *member, enum what what) {
    const size_t bytes = g->size * words * sizeof(uint32_t);
    uint32_t *host = room(bytes), *out, *in;
    cuda(cudaMalloc((void **)&out, bytes));
    cuda(cudaMalloc((void **)&in, bytes));
    for (size_t i = 0; i < g->size * words; ++i) host[i] = given(g, me.rank, what, i);
    if (spoiler == (int64_t)me.rank) {
        for (size_t k = 0; k < g->size; ++k) host[k * words] ^= 1; /* in every part, so that someone else receives it */
        spoiler = -1;
    }
    cuda(cudaMemcpy(out, host, bytes, cudaMemcpyHostToDevice));
    run(comm, g, what, out, in);
    cuda(cudaStreamSynchronize(stream));
    cuda(cudaMemcpy(host, in, received(g, what) * sizeof *host, cudaMemcpyDeviceToHost));
    check(g, member, what, host);
    const double start = now();
    for (int i = 0; i < TURNS; ++i) run(comm, g, what, out, in);
    cuda(cudaStreamSynchronize(stream));
    const double each = (now() - start) / TURNS;
    cuda(cudaFree(out));
    cuda(cudaFree(in));
    free(host);
    return each;
}

/* --------------------------------------------------------------------------------------------------------- communicators */

static void check_place(ncclComm_t comm, const placement_group *g) {
    int size, index;
    nccl(ncclCommCount(comm, &size));
    nccl(ncclCommUserRank(comm, &index));
    if ((uint32_t)size != g->size || (uint32_t)index != g->index) stop(1, "a communicator is not the one of the plan");
}

/* Every rank takes part in every split, members or not, in the order of the plan. */
static void run_kind(ncclComm_t world, uint32_t kind, double *seconds) {
    placement_group g;
    ncclComm_t comm;
    const int error = placement_group_of(&plan, kind, me.rank, &g);
    if (error != PLACEMENT_E_NOT_FOUND) need(error);
    const double start = now();
    nccl(ncclCommSplit(world, error ? NCCL_SPLIT_NOCOLOR : (int)g.group, error ? 0 : (int)g.index, &comm, NULL));
    seconds[NUM_WHAT] = now() - start;
    if (error) return;
    check_place(comm, &g);
    uint32_t *member = room(g.size * sizeof *member);
    for (uint32_t k = 0; k < g.size; ++k) need(placement_get_member(&plan, &g, k, &member[k]));
    for (int what = 0; what < NUM_WHAT; ++what) seconds[what] = exercise(comm, &g, member, (enum what)what);
    free(member);
    nccl(ncclCommDestroy(comm));
}

/* ------------------------------------------------------------------------------------------------------------------- main */

static void all_reduce_host(ncclComm_t world, void *values, size_t count, ncclDataType_t type, ncclRedOp_t op) {
    void *at;
    cuda(cudaMalloc(&at, 8 * count));
    cuda(cudaMemcpy(at, values, 8 * count, cudaMemcpyHostToDevice));
    nccl(ncclAllReduce(at, at, count, type, op, world, stream));
    cuda(cudaStreamSynchronize(stream));
    cuda(cudaMemcpy(values, at, 8 * count, cudaMemcpyDeviceToHost));
    cuda(cudaFree(at));
}

static void print_kind(uint32_t kind, const double *seconds) {
    placement_communicator_record c;
    need(placement_get_communicator(&plan, kind, &c));
    printf("  %-10s %4u x %-4u set-up %8.3f ms", placement_name(&plan, c.name, c.name_size), c.num_groups, c.size,
           seconds[NUM_WHAT] * 1e3);
    for (int what = 0; what < NUM_WHAT; ++what) printf("  %s %.1f us", what_names[what], seconds[what] * 1e6);
    printf("\n");
}

static uint32_t number(const char *name) {
    const char *text = getenv(name);
    if (!text) stop(64, "RANK and LOCAL_RANK are not set: start this with placement-exec");
    return (uint32_t)strtoul(text, NULL, 10);
}

static void read_arguments(int argc, char **argv) {
    if (argc < 3 || argc % 2 == 0) stop(64, "usage: nccl_step PLAN.BIN ID_FILE [--bytes N] [--spoil RANK]");
    for (int i = 3; i < argc; i += 2) {
        if (strcmp(argv[i], "--bytes") == 0)
            words = strtoul(argv[i + 1], NULL, 10) / sizeof(uint32_t);
        else if (strcmp(argv[i], "--spoil") == 0)
            spoiler = strtoll(argv[i + 1], NULL, 10);
        else
            stop(64, "unknown option");
    }
    if (!words) stop(64, "--bytes is at least 4");
}

int main(int argc, char **argv) {
    static double seconds[MAX_KINDS][NUM_WHAT + 1];
    me.rank = number("RANK");
    read_arguments(argc, argv);
    need(placement_open(&plan, argv[1]));
    need(placement_check(&plan));
    need(placement_get_rank(&plan, me.rank, &me));
    if (plan.num_communicators > MAX_KINDS) stop(65, "more kinds of communicators than this example has room for");
    cuda(cudaSetDevice((int)number("LOCAL_RANK")));
    cuda(cudaStreamCreate(&stream));
    ncclComm_t world = join_world(argv[2]);
    for (uint32_t kind = 0; kind < plan.num_communicators; ++kind) run_kind(world, kind, seconds[kind]);
    uint64_t counts[2] = {checked, wrong};
    all_reduce_host(world, seconds, sizeof seconds / sizeof(double), ncclFloat64, ncclMax);
    all_reduce_host(world, counts, 2, ncclUint64, ncclSum);
    if (first_wrong[0]) fprintf(stderr, "%s\n", first_wrong);
    if (me.rank == 0) {
        printf("%u ranks, %u kinds of communicators, %zu bytes a member\n", plan.world_size, plan.num_communicators,
               words * sizeof(uint32_t));
        for (uint32_t kind = 0; kind < plan.num_communicators; ++kind) print_kind(kind, seconds[kind]);
        printf("words checked %" PRIu64 ", wrong %" PRIu64 "\n", counts[0], counts[1]);
    }
    nccl(ncclCommDestroy(world));
    placement_close(&plan);
    return counts[1] != 0;
}
