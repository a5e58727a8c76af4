/* SPDX-License-Identifier: Apache-2.0
 *
 * A reference runtime: what a training stack in C does with a plan, over MPI and without a GPU.
 *
 *     mpirun -n WORLD pipeline_step PLAN.BIN [--microbatches N] [--bytes N] [--hosts] [--spoil RANK]
 *
 * It maps plan.bin, makes every communicator that the plan names in the order in which it names them, and runs the messages of
 * one training step: activations and gradients between pipeline stages in the order of 1F1B, all-to-all among experts,
 * all-gather in tensor groups, then reduce-scatter and all-gather of gradients and weights in data groups, all-reduce of
 * tied weights. Every byte that arrives says who sent it to whom and what for; the exit code is 1 if one of them came from
 * elsewhere than the plan says.
 *
 * The rank is RANK where that is set (placement-exec sets it) and the MPI rank elsewhere. --hosts compares the host that
 * the plan gives this rank with PLACEMENT_HOST or the name of the machine. --spoil makes one rank send one wrong byte,
 * which must be found.
 *
 * Build: mpicc -O2 -std=c11 -I "$(placement runtime)" pipeline_step.c -o pipeline_step
 */
#include "placement_plan.h"

#include <inttypes.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_KINDS = 64, DUALPIPE = 4 };

/* What a message is for; part of every byte of it. */
enum purpose { FORWARD = 1, BACKWARD, DISPATCH, COMBINE, TENSOR, DENSE, EXPERT, TIED };

typedef struct member_of { /* a communicator of the plan as this rank has it */
    placement_group group;
    MPI_Comm comm;
    uint32_t *rank; /* members */
    double setup_s;
    int joined;
} member_of;

static placement_plan plan;
static placement_strategy_record strategy;
static placement_rank_record me;
static member_of kinds[MAX_KINDS];
static uint32_t microbatches = 0;
static size_t message_bytes = 1024;
static int64_t spoiler = -1;
static int require_hosts = 0;

static uint64_t checked_bytes, wrong_bytes, messages;
static char first_wrong[160];

static void stop(int code, const char *what) {
    fprintf(stderr, "pipeline_step: rank %u: %s\n", me.rank, what);
    MPI_Abort(MPI_COMM_WORLD, code);
    exit(code);
}

static void need(int error) {
    if (error) stop(65, placement_error(error));
}

static void *room(size_t bytes) {
    void *at = malloc(bytes ? bytes : 1);
    if (!at) stop(71, "out of memory");
    return at;
}

/* ---------------------------------------------------------------------------------------------------- bytes with a sender */

static uint64_t mix(uint64_t x) { /* splitmix64, Steele et al. 2014 */
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static uint64_t label(enum purpose purpose, uint32_t chunk, uint32_t microbatch) {
    return ((uint64_t)purpose << 56) | ((uint64_t)chunk << 28) | microbatch;
}

/* The bytes that `from` sends to `to` under a label: each depends on all three and on its place. */
static void stamp(unsigned char *data, size_t size, uint32_t from, uint32_t to, uint64_t what) {
    const uint64_t seed = mix(mix(((uint64_t)from << 32) | to) ^ what);
    for (size_t i = 0; i < size; ++i) data[i] = (unsigned char)mix(seed + i);
}

static void write_message(unsigned char *data, size_t size, uint32_t to, uint64_t what) {
    stamp(data, size, me.rank, to, what);
    if (spoiler == (int64_t)me.rank && size) {
        data[size / 2] ^= 1;
        spoiler = -1;
    }
    ++messages;
}

static void found_wrong(const char *kind, uint32_t from, uint64_t what) {
    if (!wrong_bytes++)
        snprintf(first_wrong, sizeof first_wrong, "rank %u: a byte of %s from rank %u is wrong (label %" PRIx64 ")", me.rank,
                 kind, from, what);
}

static void check_message(const char *kind, const unsigned char *data, size_t size, uint32_t from, uint32_t to, uint64_t what) {
    const uint64_t seed = mix(mix(((uint64_t)from << 32) | to) ^ what);
    for (size_t i = 0; i < size; ++i)
        if (data[i] != (unsigned char)mix(seed + i)) found_wrong(kind, from, what);
    checked_bytes += size;
}

/* ---------------------------------------------------------------------------------------------------------- communicators */

static void check_members(const member_of *kind) {
    uint32_t *seen = room(kind->group.size * sizeof *seen);
    int index;
    MPI_Comm_rank(kind->comm, &index);
    if ((uint32_t)index != kind->group.index) found_wrong(kind->group.name, me.rank, 0);
    MPI_Allgather(&me.rank, 1, MPI_UINT32_T, seen, 1, MPI_UINT32_T, kind->comm);
    for (uint32_t k = 0; k < kind->group.size; ++k)
        if (seen[k] != kind->rank[k]) found_wrong(kind->group.name, kind->rank[k], 0);
    checked_bytes += kind->group.size * sizeof *seen;
    free(seen);
}

/* Makes the communicator of each kind that this rank is in. All ranks go through the kinds in the order of the plan, and a
 * communicator needs only its own members, so nobody waits for a group that waits for another. */
static void make_communicators(MPI_Comm world) {
    MPI_Group everyone, some;
    MPI_Comm_group(world, &everyone);
    if (plan.num_communicators > MAX_KINDS) stop(65, "more kinds of communicators than this example has room for");
    for (uint32_t i = 0; i < plan.num_communicators; ++i) {
        member_of *kind = &kinds[i];
        const double start = MPI_Wtime();
        const int error = placement_group_of(&plan, i, me.rank, &kind->group);
        if (error == PLACEMENT_E_NOT_FOUND) continue;
        need(error);
        kind->joined = 1;
        kind->rank = room(kind->group.size * sizeof *kind->rank);
        for (uint32_t k = 0; k < kind->group.size; ++k) need(placement_get_member(&plan, &kind->group, k, &kind->rank[k]));
        int *members = room(kind->group.size * sizeof *members);
        for (uint32_t k = 0; k < kind->group.size; ++k) members[k] = (int)kind->rank[k];
        MPI_Group_incl(everyone, (int)kind->group.size, members, &some);
        MPI_Comm_create_group(world, some, (int)i, &kind->comm);
        MPI_Group_free(&some);
        free(members);
        kind->setup_s = MPI_Wtime() - start;
    }
    MPI_Group_free(&everyone);
    for (uint32_t i = 0; i < plan.num_communicators; ++i)
        if (kinds[i].joined) check_members(&kinds[i]);
}

/* The communicator of a name; NULL where the plan has none or this rank is in none. */
static const member_of *find(const char *name) {
    uint32_t i;
    const int error = placement_find_communicator(&plan, name, &i);
    if (error != PLACEMENT_E_NOT_FOUND) need(error);
    return !error && kinds[i].joined ? &kinds[i] : NULL;
}

/* ------------------------------------------------------------------------------------------------------------ collectives */

static void all_to_all(const char *name, uint64_t what) {
    const member_of *kind = find(name);
    if (!kind || kind->group.size < 2) return;
    const size_t n = kind->group.size, piece = message_bytes / 4 + 1;
    unsigned char *out = room(n * piece), *in = room(n * piece);
    for (size_t k = 0; k < n; ++k) write_message(out + k * piece, piece, kind->rank[k], what);
    MPI_Alltoall(out, (int)piece, MPI_BYTE, in, (int)piece, MPI_BYTE, kind->comm);
    for (size_t k = 0; k < n; ++k) check_message(name, in + k * piece, piece, kind->rank[k], me.rank, what);
    free(out);
    free(in);
}

static void all_gather(const char *name, uint64_t what) {
    const member_of *kind = find(name);
    if (!kind || kind->group.size < 2) return;
    const size_t n = kind->group.size, piece = message_bytes;
    unsigned char *out = room(piece), *in = room(n * piece);
    write_message(out, piece, PLACEMENT_NONE, what);
    MPI_Allgather(out, (int)piece, MPI_BYTE, in, (int)piece, MPI_BYTE, kind->comm);
    for (size_t k = 0; k < n; ++k) check_message(name, in + k * piece, piece, kind->rank[k], PLACEMENT_NONE, what);
    free(out);
    free(in);
}

static uint32_t gradient(uint32_t rank, uint64_t what, size_t place) {
    return (uint32_t)mix(mix(((uint64_t)rank << 32) ^ what) + place);
}

/* Sums modulo 2^32 of what all members give: right only if each member of the plan's list gave its part exactly once. */
static void check_sums(const member_of *kind, const uint32_t *sum, size_t from, size_t words, uint64_t what) {
    for (size_t i = 0; i < words; ++i) {
        uint32_t expected = 0;
        for (uint32_t k = 0; k < kind->group.size; ++k) expected += gradient(kind->rank[k], what, from + i);
        if (sum[i] != expected) found_wrong(kind->group.name, PLACEMENT_NONE, what);
    }
    checked_bytes += words * sizeof *sum;
}

static uint32_t *gradients(size_t words, uint64_t what) {
    uint32_t *out = room(words * sizeof *out);
    for (size_t i = 0; i < words; ++i) out[i] = gradient(me.rank, what, i);
    ++messages;
    return out;
}

static void reduce_scatter(const char *name, uint64_t what) {
    const member_of *kind = find(name);
    if (!kind || kind->group.size < 2) return;
    const size_t words = message_bytes / 16 + 1;
    uint32_t *out = gradients(words * kind->group.size, what), *in = room(words * sizeof *in);
    MPI_Reduce_scatter_block(out, in, (int)words, MPI_UINT32_T, MPI_SUM, kind->comm);
    check_sums(kind, in, words * kind->group.index, words, what);
    free(out);
    free(in);
}

static void all_reduce(const member_of *kind, uint64_t what) {
    const size_t words = message_bytes / 16 + 1;
    uint32_t *out = gradients(words, what), *in = room(words * sizeof *in);
    MPI_Allreduce(out, in, (int)words, MPI_UINT32_T, MPI_SUM, kind->comm);
    check_sums(kind, in, 0, words, what);
    free(out);
    free(in);
}

/* --------------------------------------------------------------------------------------------------------------- pipeline */

typedef struct op {
    uint64_t when;
    uint32_t chunk, microbatch;
    int backward;
} op;

typedef struct outbox { /* messages on their way */
    MPI_Request *request;
    unsigned char *data;
    size_t used, most;
} outbox;

static uint32_t stage_of(uint32_t chunk, uint32_t microbatch) {
    placement_chunk_record record;
    need(placement_get_chunk(&plan, chunk, &record));
    const int mirrored = strategy.schedule == DUALPIPE && microbatch >= (microbatches + 1) / 2;
    return mirrored ? plan.num_stages - 1 - record.stage : record.stage;
}

static int by_time(const void *a, const void *b) {
    const op *x = a, *y = b;
    if (x->when != y->when) return x->when < y->when ? -1 : 1;
    if (x->chunk != y->chunk) return x->chunk < y->chunk ? -1 : 1;
    return x->backward - y->backward;
}

/* What this stage does, in order. Microbatch m runs forward through chunk c at c + 2m and back at 2C - 1 - c + 2m. With
 * one chunk a stage that is 1F1B; every message goes to a later time, so no order of any stage can wait in a circle. */
static size_t plan_ops(op *ops) {
    size_t n = 0;
    for (uint32_t m = 0; m < microbatches; ++m)
        for (uint32_t c = 0; c < plan.num_chunks; ++c) {
            if (stage_of(c, m) != me.stage) continue;
            ops[n++] = (op){.when = c + 2 * (uint64_t)m, .chunk = c, .microbatch = m, .backward = 0};
            ops[n++] = (op){.when = 2 * ((uint64_t)plan.num_chunks + m) - 1 - c, .chunk = c, .microbatch = m, .backward = 1};
        }
    qsort(ops, n, sizeof *ops, by_time);
    return n;
}

static int tag_of(const op *o, uint32_t to_chunk) {
    return (int)((o->microbatch * plan.num_chunks + to_chunk) * 2 + (uint32_t)o->backward);
}

static void receive(const op *o, uint32_t from_chunk) {
    const member_of *pp = find("pp");
    const uint32_t stage = stage_of(from_chunk, o->microbatch);
    if (stage == me.stage) return; /* a V-shaped schedule turns here: nothing to send */
    if (!pp || stage >= pp->group.size) stop(65, "the plan has no communicator along the pipeline");
    unsigned char *in = room(message_bytes);
    MPI_Recv(in, (int)message_bytes, MPI_BYTE, (int)stage, tag_of(o, o->chunk), pp->comm, MPI_STATUS_IGNORE);
    const uint64_t what = label(o->backward ? BACKWARD : FORWARD, o->chunk, o->microbatch);
    check_message("pp", in, message_bytes, pp->rank[stage], me.rank, what);
    free(in);
}

static void post(const op *o, uint32_t to_chunk, outbox *box) {
    const member_of *pp = find("pp");
    const uint32_t stage = stage_of(to_chunk, o->microbatch);
    if (stage == me.stage) return;
    if (!pp || stage >= pp->group.size || box->used == box->most) stop(65, "the plan has no communicator along the pipeline");
    unsigned char *out = box->data + box->used * message_bytes;
    write_message(out, message_bytes, pp->rank[stage], label(o->backward ? BACKWARD : FORWARD, to_chunk, o->microbatch));
    MPI_Isend(out, (int)message_bytes, MPI_BYTE, (int)stage, tag_of(o, to_chunk), pp->comm, &box->request[box->used++]);
}

static void run_op(const op *o, outbox *box) {
    const uint32_t last = plan.num_chunks - 1;
    if (!o->backward && o->chunk > 0) receive(o, o->chunk - 1);
    if (o->backward && o->chunk < last) receive(o, o->chunk + 1);
    const uint32_t pass = o->chunk * 2 + (uint32_t)o->backward;
    all_gather("tp", label(TENSOR, pass, o->microbatch));
    all_to_all("ep", label(DISPATCH, pass, o->microbatch));
    all_to_all("ep", label(COMBINE, pass, o->microbatch));
    if (!o->backward && o->chunk < last) post(o, o->chunk + 1, box);
    if (o->backward && o->chunk > 0) post(o, o->chunk - 1, box);
}

static void run_pipeline(void) {
    const size_t most = (size_t)microbatches * plan.num_chunks * 2;
    op *ops = room(most * sizeof *ops);
    outbox box = {room(most * sizeof(MPI_Request)), room(most * message_bytes), 0, most};
    const size_t n = plan_ops(ops);
    for (size_t i = 0; i < n; ++i) run_op(&ops[i], &box);
    MPI_Status *status = room(most * sizeof *status); /* MPI_STATUSES_IGNORE makes gcc warn in the headers of MPICH */
    MPI_Waitall((int)box.used, box.request, status);
    free(status);
    free(box.request);
    free(box.data);
    free(ops);
}

static void run_gradients(void) {
    reduce_scatter("dp_cp", label(DENSE, 0, 0));
    reduce_scatter("edp", label(EXPERT, 0, 0));
    for (uint32_t i = 0; i < plan.num_communicators; ++i)
        if (kinds[i].joined && strncmp(kinds[i].group.name, "tied_", 5) == 0) all_reduce(&kinds[i], label(TIED, i, 0));
    all_gather("dp_cp", label(DENSE, 1, 0));
    all_gather("edp", label(EXPERT, 1, 0));
}

/* ------------------------------------------------------------------------------------------------------------------- main */

static uint32_t own_rank(void) {
    const char *given = getenv("RANK");
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return given ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)rank;
}

static void check_host(void) {
    char machine[MPI_MAX_PROCESSOR_NAME];
    int size;
    placement_host_record host;
    MPI_Get_processor_name(machine, &size);
    const char *here = getenv("PLACEMENT_HOST") ? getenv("PLACEMENT_HOST") : machine;
    need(placement_get_host(&plan, me.host, &host));
    const char *planned = placement_name(&plan, host.name, host.name_size);
    if (!planned || strcmp(planned, here) != 0) stop(68, "this host is not where the plan puts this rank");
}

static void read_arguments(int argc, char **argv) {
    if (argc < 2) stop(64, "usage: pipeline_step PLAN.BIN [--microbatches N] [--bytes N] [--hosts] [--spoil RANK]");
    for (int i = 2; i < argc; ++i) {
        if (strcmp(argv[i], "--hosts") == 0)
            require_hosts = 1;
        else if (i + 1 == argc)
            stop(64, "an option lacks its value");
        else if (strcmp(argv[i], "--microbatches") == 0)
            microbatches = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--bytes") == 0)
            message_bytes = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--spoil") == 0)
            spoiler = strtoll(argv[++i], NULL, 10);
        else
            stop(64, "unknown option");
    }
}

static void report(MPI_Comm world, double open_s, double setup_s, double step_s) {
    uint64_t mine[3] = {checked_bytes, wrong_bytes, messages}, all[3];
    double times[3] = {open_s, setup_s, step_s}, slowest[3], kind_s[MAX_KINDS], kind_slowest[MAX_KINDS];
    for (uint32_t i = 0; i < plan.num_communicators; ++i) kind_s[i] = kinds[i].setup_s;
    MPI_Allreduce(mine, all, 3, MPI_UINT64_T, MPI_SUM, world);
    MPI_Reduce(times, slowest, 3, MPI_DOUBLE, MPI_MAX, 0, world);
    MPI_Reduce(kind_s, kind_slowest, (int)plan.num_communicators, MPI_DOUBLE, MPI_MAX, 0, world);
    if (first_wrong[0]) fprintf(stderr, "%s\n", first_wrong);
    wrong_bytes = all[1];
    if (me.rank) return;
    printf("%u ranks, %u stages, %u chunks, %u microbatches, schedule %s\n", plan.world_size, plan.num_stages, plan.num_chunks,
           microbatches, placement_schedule_name(strategy.schedule));
    printf("slowest rank: plan opened and checked %.6f s, communicators %.6f s, step %.6f s\n", slowest[0], slowest[1],
           slowest[2]);
    for (uint32_t i = 0; i < plan.num_communicators; ++i) {
        placement_communicator_record c;
        need(placement_get_communicator(&plan, i, &c));
        printf("  %-10s %6u x %-6u %.6f s\n", placement_name(&plan, c.name, c.name_size), c.num_groups, c.size,
               kind_slowest[i]);
    }
    printf("messages %" PRIu64 ", bytes checked %" PRIu64 ", wrong %" PRIu64 "\n", all[2], all[0], all[1]);
}

int main(int argc, char **argv) {
    MPI_Comm world;
    int size;
    MPI_Init(&argc, &argv);
    me.rank = own_rank();
    read_arguments(argc, argv);
    const double start = MPI_Wtime();
    need(placement_open(&plan, argv[1]));
    need(placement_check(&plan));
    const double opened = MPI_Wtime();
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if ((uint32_t)size != plan.world_size) stop(70, "the plan is for another number of processes");
    need(placement_get_rank(&plan, me.rank, &me));
    need(placement_get_strategy(&plan, &strategy));
    if (require_hosts) check_host();
    if (!microbatches)
        microbatches = strategy.num_microbatches < 2 * plan.num_chunks ? strategy.num_microbatches : 2 * plan.num_chunks;
    MPI_Comm_split(MPI_COMM_WORLD, 0, (int)me.rank, &world); /* from here on, ranks of MPI are ranks of the plan */
    MPI_Barrier(world);
    const double begun = MPI_Wtime();
    make_communicators(world);
    MPI_Barrier(world);
    const double made = MPI_Wtime();
    run_pipeline();
    run_gradients();
    MPI_Barrier(world);
    report(world, opened - start, made - begun, MPI_Wtime() - made);
    placement_close(&plan);
    MPI_Finalize();
    return wrong_bytes != 0;
}
