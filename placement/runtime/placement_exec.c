/* SPDX-License-Identifier: Apache-2.0
 *
 * placement-exec: starts a program as the rank that the plan puts on this host and local slot, whatever order the launcher
 * used.
 *
 *     placement-exec [options] PLAN PROGRAM [ARGUMENT...]
 *
 * (host name, local slot) -> rank, from plan.bin; then RANK, WORLD_SIZE, LOCAL_RANK, ... are set and PROGRAM replaces this
 * process. docs/how-to/runtime.md is the manual. Build: cc -O2 -std=c11 -o placement-exec placement_exec.c
 */
#if !defined(_GNU_SOURCE) && !defined(__APPLE__)
#define _GNU_SOURCE
#endif
#include "placement_plan.h"

#include <ctype.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum {
    EXIT_USAGE = 64,     /* wrong arguments */
    EXIT_DAMAGED = 65,   /* the plan is damaged, or of another version */
    EXIT_NO_PLAN = 66,   /* the plan cannot be opened */
    EXIT_STALE = 67,     /* the plan has another digest than the launch was made for */
    EXIT_NO_HOST = 68,   /* this host is not in the plan */
    EXIT_NO_SLOT = 69,   /* the launcher names no local slot, or one that the plan has no rank for */
    EXIT_COUNT = 70,     /* the launcher started another number of processes than the plan has ranks, here or in all */
    EXIT_SYSTEM = 71,    /* fork or memory */
    EXIT_DEVICES = 78,   /* CUDA_VISIBLE_DEVICES of the launcher hides GPUs that the plan uses */
    EXIT_NOT_RUN = 126,  /* PROGRAM cannot be executed */
    EXIT_NOT_FOUND = 127 /* PROGRAM does not exist */
};

enum { NAME_ROOM = 256 }; /* bytes of a host name, its NUL included (RFC 1035) */

enum devices { DEVICES_AUTO, DEVICES_LIST, DEVICES_ONE, DEVICES_OFF };
enum hca { HCA_OFF, HCA_HOST, HCA_RANK };

typedef struct options {
    const char *plan, *host, *digest, *master_addr, *master_port;
    long slot, local_size; /* -1: from the launcher */
    enum devices devices;
    enum hca hca;
    int all_local, check;
    char **program; /* NULL: print the environment instead */
} options;

typedef struct task {
    uint32_t host, slot, rank, local_size, group_rank;
    placement_host_record on;
    placement_rank_record me;
} task;

/* What a launcher tells its processes. Before SLURM_LOCALID come those of MPI launchers, which run inside Slurm jobs too and
 * inherit its variables. */
typedef struct launcher {
    const char *slot, *local_size, *world_size, *world_size_2;
} launcher;

static const launcher launchers[] = {
    {"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_SIZE", NULL},
    {"MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_SIZE", NULL},
    {"SLURM_LOCALID", NULL, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"},
    {"JOB_COMPLETION_INDEX", NULL, NULL, NULL},
};

static void fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("placement-exec: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(code);
}

/* ------------------------------------------------------------------------------------------------------------- arguments */

static const char usage_text[] =
    "usage: placement-exec [options] PLAN [PROGRAM [ARGUMENT...]]\n"
    "\n"
    "Starts PROGRAM as the rank that PLAN (a plan directory or its plan.bin) puts on this host and local slot.\n"
    "Without PROGRAM, prints the environment that it would set.\n"
    "\n"
    "  --host NAME             this host (else PLACEMENT_HOST, SLURMD_NODENAME, the host name of the system)\n"
    "  --slot N                local slot (else OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID, SLURM_LOCALID,\n"
    "                          JOB_COMPLETION_INDEX)\n"
    "  --local-size N          processes that were started on this host, checked against the plan\n"
    "  --all-local             start every rank of this host, wait, and end them all if one fails\n"
    "  --digest HEX            refuse any other plan (else PLACEMENT_DIGEST; at least 8 digits)\n"
    "  --check                 check the whole plan first (some milliseconds)\n"
    "  --master-addr ADDRESS   MASTER_ADDR (else the plan's host of rank 0)\n"
    "  --master-port PORT      MASTER_PORT (else as it is, else 29500)\n"
    "  --cuda-devices WHICH    CUDA_VISIBLE_DEVICES: auto (set where local rank and slot differ), list, one, off\n"
    "  --nccl-ib-hca WHICH     NCCL_IB_HCA: off, host (NICs of all rails), rank (the NIC of this rank's rail)\n"
    "\n"
    "Exit codes: 64 usage, 65 plan damaged, 66 plan cannot be opened, 67 plan is stale, 68 host not in the plan,\n"
    "69 no such local slot, 70 wrong number of processes, 71 system, 78 GPUs hidden by the launcher,\n"
    "126 PROGRAM cannot be executed, 127 PROGRAM not found; otherwise that of PROGRAM.\n";

static long number(const char *text, const char *what, int code) {
    char *end = NULL;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0) fail(code, "%s is `%s`, which is not a number", what, text);
    return value;
}

static int choice(const char *text, const char *what, const char *const *words) {
    for (int i = 0; words[i]; ++i)
        if (strcmp(words[i], text) == 0) return i;
    fail(EXIT_USAGE, "%s cannot be `%s`; see --help", what, text);
    return 0;
}

/* The value of an option given as `--name VALUE` or `--name=VALUE`, or NULL if *at is another option. */
static const char *option(char **argv, int *at, const char *name) {
    const size_t size = strlen(name);
    if (strncmp(argv[*at], name, size) != 0) return NULL;
    if (argv[*at][size] == '=') return argv[*at] + size + 1;
    if (argv[*at][size] != '\0') return NULL;
    if (!argv[*at + 1]) fail(EXIT_USAGE, "%s needs a value; see --help", name);
    return argv[++*at];
}

static options read_options(char **argv) {
    static const char *const devices[] = {"auto", "list", "one", "off", NULL};
    static const char *const hca[] = {"off", "host", "rank", NULL};
    options o = {.slot = -1, .local_size = -1};
    int at = 1;
    for (const char *value; argv[at] && argv[at][0] == '-'; ++at) {
        if (strcmp(argv[at], "--") == 0) {
            ++at;
            break;
        }
        if (strcmp(argv[at], "--help") == 0) {
            fputs(usage_text, stdout);
            exit(0);
        }
        if (strcmp(argv[at], "--all-local") == 0)
            o.all_local = 1;
        else if (strcmp(argv[at], "--check") == 0)
            o.check = 1;
        else if ((value = option(argv, &at, "--host")))
            o.host = value;
        else if ((value = option(argv, &at, "--slot")))
            o.slot = number(value, "--slot", EXIT_USAGE);
        else if ((value = option(argv, &at, "--local-size")))
            o.local_size = number(value, "--local-size", EXIT_USAGE);
        else if ((value = option(argv, &at, "--digest")))
            o.digest = value;
        else if ((value = option(argv, &at, "--master-addr")))
            o.master_addr = value;
        else if ((value = option(argv, &at, "--master-port")))
            o.master_port = value;
        else if ((value = option(argv, &at, "--cuda-devices")))
            o.devices = (enum devices)choice(value, "--cuda-devices", devices);
        else if ((value = option(argv, &at, "--nccl-ib-hca")))
            o.hca = (enum hca)choice(value, "--nccl-ib-hca", hca);
        else
            fail(EXIT_USAGE, "unknown option `%s`; see --help", argv[at]);
    }
    o.plan = argv[at];
    if (!o.plan) fail(EXIT_USAGE, "which plan? see --help");
    o.program = argv[at + 1] ? argv + at + 1 : NULL;
    if (o.program && strcmp(*o.program, "--") == 0 && !*++o.program) fail(EXIT_USAGE, "which program? see --help");
    if (o.all_local && (!o.program || o.slot >= 0))
        fail(EXIT_USAGE, "--all-local needs a program, and takes no --slot; see --help");
    return o;
}

/* ------------------------------------------------------------------------------------------------------------------- plan */

static int open_plan(placement_plan *plan, const char *path) {
    char inside[PATH_MAX];
    const int error = placement_open(plan, path);
    if (error != PLACEMENT_E_FILE || errno != EISDIR) return error;
    const int size = snprintf(inside, sizeof inside, "%s/plan.bin", path);
    return size > 0 && (size_t)size < sizeof inside ? placement_open(plan, inside) : error;
}

static void require_digest(const placement_plan *plan, const char *wanted) {
    char text[65];
    placement_digest_text(plan, text);
    if (!wanted || !*wanted) return;
    const size_t size = strlen(wanted);
    if (size < 8 || size > 64) fail(EXIT_USAGE, "the digest `%s` has fewer than 8 or more than 64 digits", wanted);
    for (size_t i = 0; i < size; ++i)
        if (tolower((unsigned char)wanted[i]) != text[i])
            fail(EXIT_STALE, "stale plan: this launch was made for plan %.12s, and the file has plan %.12s", wanted, text);
}

static void load(placement_plan *plan, const options *o) {
    int error = open_plan(plan, o->plan);
    if (error == PLACEMENT_E_FILE) fail(EXIT_NO_PLAN, "cannot open the plan `%s`: %s", o->plan, strerror(errno));
    if (!error && o->check) error = placement_check(plan);
    if (error) fail(EXIT_DAMAGED, "`%s`: %s", o->plan, placement_error(error));
    require_digest(plan, o->digest ? o->digest : getenv("PLACEMENT_DIGEST"));
}

static void damaged(const options *o) { fail(EXIT_DAMAGED, "`%s`: %s", o->plan, placement_error(PLACEMENT_E_DAMAGED)); }

/* ------------------------------------------------------------------------------------------------------------------- host */

/* The only host of the plan whose name is `name` and a domain: hosts are sorted, so it stands where `name.` would. */
static int find_longer(const placement_plan *plan, const char *name, uint32_t *host) {
    const size_t size = strlen(name);
    uint32_t low = 0, high = plan->num_hosts;
    int found = 0;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        placement_host_record record;
        const char *text =
            placement_get_host(plan, middle, &record) ? NULL : placement_name(plan, record.name, record.name_size);
        if (!text) return PLACEMENT_E_DAMAGED;
        const int order = strncmp(text, name, size);
        if (order < 0 || (order == 0 && (unsigned char)text[size] < '.'))
            low = middle + 1;
        else
            high = middle;
    }
    for (uint32_t i = low; i < plan->num_hosts && i < low + 2; ++i) {
        placement_host_record record;
        const char *text = placement_get_host(plan, i, &record) ? NULL : placement_name(plan, record.name, record.name_size);
        if (text && strncmp(text, name, size) == 0 && text[size] == '.') *host = i, ++found;
    }
    return found == 1 ? PLACEMENT_OK : PLACEMENT_E_NOT_FOUND;
}

/* A host by its name; a domain that only the machine or only the plan writes makes no difference. */
static int find_host(const placement_plan *plan, const char *name, uint32_t *host) {
    char bare[NAME_ROOM];
    int error = placement_find_host(plan, name, host);
    if (error != PLACEMENT_E_NOT_FOUND) return error;
    const size_t size = strcspn(name, ".");
    if (name[size] == '\0') return size ? find_longer(plan, name, host) : error;
    if (size == 0 || size >= sizeof bare) return error;
    memcpy(bare, name, size);
    bare[size] = '\0';
    return placement_find_host(plan, bare, host);
}

static const char *host_name(const options *o) {
    static char name[NAME_ROOM];
    const char *given = o->host ? o->host : getenv("PLACEMENT_HOST");
    /* An mpirun inside a Slurm job may hand the node name of the batch step to every process: then the machine is asked. */
    if ((!given || !*given) && !getenv(launchers[0].slot) && !getenv(launchers[1].slot)) given = getenv("SLURMD_NODENAME");
    if (given && *given) return given;
    if (gethostname(name, sizeof name - 1)) fail(EXIT_SYSTEM, "cannot get the name of this host: %s", strerror(errno));
    return name;
}

static void settle_host(const placement_plan *plan, const options *o, task *t) {
    const char *name = host_name(o);
    const int error = find_host(plan, name, &t->host);
    if (error == PLACEMENT_E_NOT_FOUND)
        fail(EXIT_NO_HOST, "host `%s` is not in the plan, which has %u hosts: is this another allocation than it was made for?",
             name, plan->num_hosts);
    if (error || placement_get_host(plan, t->host, &t->on)) damaged(o);
    t->local_size = 0;
    for (uint32_t slot = 0, rank; slot < plan->gpus_per_node; ++slot) {
        const int state = placement_find_rank(plan, t->host, slot, &rank);
        if (state == PLACEMENT_OK)
            ++t->local_size;
        else if (state != PLACEMENT_E_NOT_FOUND)
            damaged(o);
    }
    if (t->local_size == 0 || t->local_size != t->on.num_ranks) damaged(o);
}

/* ------------------------------------------------------------------------------------------------------------------- slot */

/* Tasks on node `node` of Slurm's short form, such as 4(x8),3 ; -1 where it does not say. */
static long slurm_tasks(const char *text, long node) {
    while (text && *text) {
        char *end = NULL;
        const long tasks = strtol(text, &end, 10);
        long nodes = 1;
        if (end == text) return -1;
        if (strncmp(end, "(x", 2) == 0) {
            text = end + 2;
            nodes = strtol(text, &end, 10);
            if (end == text || *end != ')') return -1;
            ++end;
        }
        if (node < nodes) return tasks;
        node -= nodes;
        text = *end == ',' ? end + 1 : NULL;
    }
    return -1;
}

static long slurm_local_size(void) {
    const char *tasks = getenv("SLURM_STEP_TASKS_PER_NODE"), *node = getenv("SLURM_NODEID");
    if (!tasks) tasks = getenv("SLURM_TASKS_PER_NODE");
    return tasks && node ? slurm_tasks(tasks, number(node, "SLURM_NODEID", EXIT_COUNT)) : -1;
}

static void require_count(const char *what, long found, uint32_t planned, const char *where) {
    if (found >= 0 && (uint64_t)found != planned)
        fail(EXIT_COUNT, "%s says %ld processes %s, and the plan has %u ranks there", what, found, where, planned);
}

static void require_counts(const placement_plan *plan, const options *o, const launcher *from, const task *t) {
    const char *local = from && from->local_size ? getenv(from->local_size) : NULL;
    const char *world = from && from->world_size ? getenv(from->world_size) : NULL;
    const char *what = from ? from->world_size : NULL;
    require_count("--local-size", o->local_size, t->local_size, "on this host");
    if (o->local_size < 0 && local)
        require_count(from->local_size, number(local, from->local_size, EXIT_COUNT), t->local_size, "on this host");
    if (o->local_size < 0 && from && strcmp(from->slot, "SLURM_LOCALID") == 0)
        require_count("SLURM_STEP_TASKS_PER_NODE", slurm_local_size(), t->local_size, "on this host");
    if (!world && from && from->world_size_2) world = getenv(what = from->world_size_2);
    if (world) require_count(what, number(world, what, EXIT_COUNT), plan->world_size, "in all");
}

/* Local slot k is the k-th GPU slot of the host that the plan gives a rank: the k-th slot itself where the host is whole. */
static void settle_slot(const placement_plan *plan, const options *o, task *t) {
    const launcher *from = NULL;
    long local = o->slot;
    for (size_t i = 0; local < 0 && i < sizeof launchers / sizeof *launchers; ++i) {
        const char *value = getenv(launchers[i].slot);
        if (!value || !*value) continue;
        from = &launchers[i];
        local = number(value, from->slot, EXIT_NO_SLOT);
    }
    if (local < 0)
        fail(EXIT_NO_SLOT,
             "no launcher's variable names a local slot; give --slot N, or --all-local for every rank of this host");
    require_counts(plan, o, from, t);
    if (local >= (long)t->local_size)
        fail(EXIT_NO_SLOT, "local slot %ld (from %s), and the plan has %u ranks on this host%s", local,
             from ? from->slot : "--slot", t->local_size,
             from && strcmp(from->slot, "JOB_COMPLETION_INDEX") == 0 ? "; for one pod a host use --all-local" : "");
    for (t->slot = 0;; ++t->slot)
        if (placement_find_rank(plan, t->host, t->slot, &t->rank) == PLACEMENT_OK && local-- == 0) return;
}

/* The rank's own record agrees with the tables that led to it, so that a damaged plan shows also without --check. */
static void settle_rank(const placement_plan *plan, const options *o, task *t) {
    placement_strategy_record s;
    if (placement_get_rank(plan, t->rank, &t->me) || placement_get_strategy(plan, &s)) damaged(o);
    const uint64_t in_stage = t->me.tp + (uint64_t)s.tp * (t->me.cp + (uint64_t)s.cp * t->me.dp);
    const uint64_t rank = in_stage + (uint64_t)s.tp * s.cp * s.dp * t->me.stage;
    if (t->me.host != t->host || t->me.slot != t->slot || rank != t->rank) damaged(o);
}

/* Hosts in the order of their smallest ranks: what torchrun calls the group rank. */
static void settle_group(const placement_plan *plan, task *t) {
    t->group_rank = 0;
    placement_host_record record;
    for (uint32_t h = 0; h < plan->num_hosts; ++h)
        t->group_rank += !placement_get_host(plan, h, &record) && record.first_rank < t->on.first_rank;
}

/* ------------------------------------------------------------------------------------------------------------ environment */

static void set(const char *name, const char *value, int print) {
    if (print)
        printf("%s=%s\n", name, value);
    else if (setenv(name, value, 1))
        fail(EXIT_SYSTEM, "cannot set %s: %s", name, strerror(errno));
}

static void set_number(const char *name, uint32_t value, int print) {
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    set(name, text, print);
}

/* Appends `text` and a comma before it where something stands already. */
static void append(char *list, size_t room, const char *text, size_t size) {
    const size_t used = strlen(list), comma = used && list[used - 1] != '=';
    if (used + comma + size >= room) fail(EXIT_SYSTEM, "a list of devices is longer than %zu bytes", room);
    if (comma) list[used] = ',';
    memcpy(list + used + comma, text, size);
    list[used + comma + size] = '\0';
}

/* Device number `slot` as the launcher lets this process see it. */
static void append_device(char *list, size_t room, uint32_t slot, uint32_t slots) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    char text[16];
    if (!visible) {
        append(list, room, text, (size_t)snprintf(text, sizeof text, "%u", slot));
        return;
    }
    uint32_t count = *visible != '\0';
    for (const char *c = visible; *c; ++c) count += *c == ',';
    if (count != slots)
        fail(EXIT_DEVICES,
             "the launcher's CUDA_VISIBLE_DEVICES shows %u GPUs to this process, and the host has %u; "
             "let it show all, or give --cuda-devices off",
             count, slots);
    for (; slot; --slot) visible += strcspn(visible, ",") + 1;
    append(list, room, visible, strcspn(visible, ","));
}

/* Whether some rank of the host has a local rank that is not its slot. */
static int crossed(const placement_plan *plan, uint32_t host) {
    placement_rank_record record;
    for (uint32_t slot = 0, rank; slot < plan->gpus_per_node; ++slot)
        if (!placement_find_rank(plan, host, slot, &rank) && !placement_get_rank(plan, rank, &record) &&
            record.local_rank != slot)
            return 1;
    return 0;
}

/* Device LOCAL_RANK is the planned GPU: a list of the host's slots by local rank, the same for all its ranks. Or this slot
 * only. */
static void set_devices(const placement_plan *plan, const options *o, const task *t, int print) {
    char list[4096] = "";
    if (o->devices == DEVICES_OFF || (o->devices == DEVICES_AUTO && !crossed(plan, t->host))) return;
    if (o->devices == DEVICES_ONE) {
        append_device(list, sizeof list, t->slot, plan->gpus_per_node);
    } else {
        placement_rank_record record;
        for (uint32_t local = 0; local < t->local_size; ++local)
            for (uint32_t slot = 0, rank; slot < plan->gpus_per_node; ++slot)
                if (!placement_find_rank(plan, t->host, slot, &rank) && !placement_get_rank(plan, rank, &record) &&
                    record.local_rank == local)
                    append_device(list, sizeof list, slot, plan->gpus_per_node);
    }
    set("CUDA_VISIBLE_DEVICES", list, print);
}

/* `=` makes NCCL take exactly these devices, not all that start so. */
static void set_hca(const placement_plan *plan, const options *o, const task *t, int print) {
    char list[4096] = "=";
    placement_nic_record nic;
    if (o->hca == HCA_OFF) return;
    for (uint32_t rail = 0; rail < plan->num_nics; ++rail) {
        if (o->hca == HCA_RANK && rail != t->me.rail) continue;
        const char *name = placement_get_nic(plan, rail, &nic) ? NULL : placement_name(plan, nic.name, nic.name_size);
        if (!name) damaged(o);
        append(list, sizeof list, name, strlen(name));
    }
    set("NCCL_IB_HCA", list, print);
}

static void set_master(const placement_plan *plan, const options *o, int print) {
    placement_rank_record zero;
    placement_host_record record;
    const char *port = o->master_port ? o->master_port : getenv("MASTER_PORT"), *name = NULL;
    if (!placement_get_rank(plan, 0, &zero) && !placement_get_host(plan, zero.host, &record))
        name = placement_name(plan, record.name, record.name_size);
    if (!name) damaged(o);
    set("MASTER_ADDR", o->master_addr ? o->master_addr : name, print);
    set("MASTER_PORT", port && *port ? port : "29500", print);
}

static void set_environment(const placement_plan *plan, const options *o, const task *t, int print) {
    const int alone = o->devices == DEVICES_ONE; /* it sees one GPU, number 0: a group by itself */
    char digest[65];
    placement_digest_text(plan, digest);
    set_number("RANK", t->rank, print);
    set_number("WORLD_SIZE", plan->world_size, print);
    set_number("LOCAL_RANK", alone ? 0 : t->me.local_rank, print);
    set_number("LOCAL_WORLD_SIZE", alone ? 1 : t->local_size, print);
    set_number("GROUP_RANK", alone ? t->rank : t->group_rank, print);
    set_number("GROUP_WORLD_SIZE", alone ? plan->world_size : plan->num_hosts, print);
    set_master(plan, o, print);
    set_devices(plan, o, t, print);
    set_hca(plan, o, t, print);
    set("PLACEMENT_DIGEST", digest, print);
}

/* ---------------------------------------------------------------------------------------------------------------- running */

static void run(char **program) {
    execvp(*program, program);
    fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN, "cannot run `%s`: %s", *program, strerror(errno));
}

static pid_t children[UINT16_MAX + 1];
static uint32_t num_children;

static void forward(int signal_number) {
    for (uint32_t i = 0; i < num_children; ++i)
        if (children[i] > 0) kill(children[i], signal_number);
}

static void end_all(int unused) {
    (void)unused;
    forward(SIGKILL);
}

static int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

/* Waits for all children. After the first that fails the others get SIGTERM, and SIGKILL ten seconds later. */
static int wait_all(void) {
    int code = 0, status;
    for (uint32_t left = num_children; left;) {
        const pid_t pid = wait(&status);
        if (pid < 0 && errno == EINTR) continue;
        if (pid < 0) break;
        for (uint32_t i = 0; i < num_children; ++i)
            if (children[i] == pid) children[i] = 0, --left;
        if (exit_code(status) && !code) {
            code = exit_code(status);
            forward(SIGTERM);
            signal(SIGALRM, end_all);
            alarm(10);
        }
    }
    return code;
}

static int run_all(const placement_plan *plan, const options *o, task *t) {
    static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    const pid_t parent = getpid();
    sigset_t blocked, old;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; ++i) sigaddset(&blocked, passed_on[i]);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    for (t->slot = 0; t->slot < plan->gpus_per_node; ++t->slot) {
        if (placement_find_rank(plan, t->host, t->slot, &t->rank)) continue;
        settle_rank(plan, o, t);
        const pid_t pid = fork();
        if (pid < 0) {
            const int kept = errno;
            forward(SIGKILL);
            fail(EXIT_SYSTEM, "cannot start a process: %s", strerror(kept));
        }
        if (pid == 0) {
            sigprocmask(SIG_SETMASK, &old, NULL);
#ifdef __linux__
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* no rank outlives the launcher's process */
            if (getppid() != parent) _exit(EXIT_SYSTEM);
#else
            (void)parent;
#endif
            set_environment(plan, o, t, 0);
            run(o->program);
        }
        children[num_children++] = pid;
    }
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; ++i) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = forward;
        sigaction(passed_on[i], &action, NULL);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    return wait_all();
}

int main(int argc, char **argv) {
    (void)argc;
    const options o = read_options(argv);
    placement_plan plan;
    task t;
    memset(&t, 0, sizeof t);
    load(&plan, &o);
    settle_host(&plan, &o, &t);
    settle_group(&plan, &t);
    if (o.all_local) return run_all(&plan, &o, &t);
    settle_slot(&plan, &o, &t);
    settle_rank(&plan, &o, &t);
    set_environment(&plan, &o, &t, !o.program);
    if (o.program) run(o.program);
    return fflush(stdout) ? EXIT_SYSTEM : 0;
}
