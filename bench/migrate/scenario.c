/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/migrate/scenario.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "bench/stats.h"
#include "core/clock.h"
#include "core/key_lines.h"
#include "core/tune/policy.h"
#include "core/units.h"

#define SCENARIO_TIMEOUT_NS (30 * NS_PER_S)

typedef int scenario_take_fn(char *value, void *to, size_t size, struct err *e);

struct scenario_key {
    const char *name;
    scenario_take_fn *take;
    size_t offset, size; /* of the field; size matters to texts only */
};

/* ---- values ---- */

static int scenario_take_text(char *value, void *to, size_t size, struct err *e)
{
    if (*value == '\0')
        return err_set(e, ERR_USAGE, 0, "no value is given");
    if (strlen(value) >= size)
        return err_set(e, ERR_USAGE, 0, "the value is longer than %zu characters", size - 1);
    memcpy(to, value, strlen(value) + 1);
    return 0;
}

/* Index of `value` among the names; -1 with an error that lists them. */
static int scenario_choice(const char *value, const char *const *names, struct err *e)
{
    char list[128] = "";
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], value) == 0)
            return i;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    return err_set(e, ERR_USAGE, 0, "'%s' is not one of %s", value, list);
}

static int scenario_take_where(char *value, void *to, size_t size, struct err *e)
{
    static const char *const names[] = {"lab", "local", NULL};
    int i = scenario_choice(value, names, e);
    (void)size;
    *(enum scenario_where *)to = i < 0 ? SCENARIO_LAB : (enum scenario_where)i;
    return i < 0 ? -1 : 0;
}

static int scenario_take_guest(char *value, void *to, size_t size, struct err *e)
{
    static const char *const names[] = {"bare", "linux", "command", NULL};
    int i = scenario_choice(value, names, e);
    (void)size;
    *(enum scenario_guest *)to = i < 0 ? SCENARIO_BARE : (enum scenario_guest)i;
    return i < 0 ? -1 : 0;
}

static int scenario_take_accel(char *value, void *to, size_t size, struct err *e)
{
    static const char *const names[] = {"tcg", "kvm", "kvm,dirty-ring-size=N", NULL};
    static const char ring[] = "kvm,dirty-ring-size=";
    uint64_t entries;
    if (strncmp(value, ring, strlen(ring)) == 0) {
        if (units_parse_count(value + strlen(ring), 1024, 65536, &entries, e) < 0)
            return -1;
    } else if (scenario_choice(value, names, e) < 0) {
        return -1;
    }
    return scenario_take_text(value, to, size, e);
}

typedef int scenario_number_fn(const char *text, uint64_t *n, struct err *e);

static int scenario_take_list(char *value, struct scenario_numbers *list, scenario_number_fn *read,
                              struct err *e)
{
    list->n = 0;
    for (char *item; (item = strsep(&value, ",")) != NULL;) {
        uint64_t n;
        if (list->n == SCENARIO_LIST_MAX)
            return err_set(e, ERR_USAGE, 0, "there are more than %d values", SCENARIO_LIST_MAX);
        if (read(key_lines_trim(item), &n, e) < 0)
            return -1;
        for (size_t i = 0; i < list->n; i++)
            if (list->at[i] == n)
                return err_set(e, ERR_USAGE, 0, "a value is given twice");
        list->at[list->n++] = n;
    }
    return 0;
}

static int scenario_count(const char *text, uint64_t *n, struct err *e)
{
    return units_parse_count(text, 1, 255, n, e);
}

static int scenario_memory(const char *text, uint64_t *n, struct err *e)
{
    if (units_parse_size(text, n, e) < 0)
        return -1;
    return *n > 0 ? 0 : err_set(e, ERR_USAGE, 0, "'%s' is no memory at all", text);
}

static int scenario_ram(const char *text, uint64_t *n, struct err *e)
{
    if (scenario_memory(text, n, e) < 0)
        return -1;
    return *n % (1 << 20) == 0 ? 0 : err_set(e, ERR_USAGE, 0, "'%s' is not in whole MiB", text);
}

static int scenario_link(const char *text, uint64_t *n, struct err *e)
{
    *n = 0;
    if (strcmp(text, "none") == 0)
        return 0;
    if (units_parse_rate(text, n, e) < 0)
        return -1;
    return *n > 0
               ? 0
               : err_set(e, ERR_USAGE, 0, "'%s' carries nothing; write 'none' for no limit", text);
}

static int scenario_route(const char *text, uint64_t *n, struct err *e)
{
    int route = trial_route_of(text);
    if (route < 0)
        return err_set(e, ERR_USAGE, 0, "'%s' is not one of qmp, direct, native, virsh", text);
    *n = (uint64_t)route;
    return 0;
}

static int scenario_take_sizes(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    return scenario_take_list(value, to, scenario_memory, e);
}

static int scenario_take_ram(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    return scenario_take_list(value, to, scenario_ram, e);
}

static int scenario_take_rates(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    return scenario_take_list(value, to, units_parse_size, e);
}

static int scenario_take_counts(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    return scenario_take_list(value, to, scenario_count, e);
}

static int scenario_take_links(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    return scenario_take_list(value, to, scenario_link, e);
}

static int scenario_take_routes(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    return scenario_take_list(value, to, scenario_route, e);
}

static int scenario_take_rounds(char *value, void *to, size_t size, struct err *e)
{
    uint64_t n;
    (void)size;
    if (units_parse_count(value, 1, 1000, &n, e) < 0)
        return -1;
    *(unsigned *)to = (unsigned)n;
    return 0;
}

static int scenario_take_time(char *value, void *to, size_t size, struct err *e)
{
    (void)size;
    if (units_parse_duration(value, to, e) < 0)
        return -1;
    return *(int64_t *)to >= NS_PER_S ? 0 : err_set(e, ERR_USAGE, 0, "'%s' is below 1s", value);
}

#define AT(field) offsetof(struct scenario, field), sizeof((struct scenario *)0)->field

static const struct scenario_key keys[] = {
    {"where", scenario_take_where, AT(where)},
    {"guest", scenario_take_guest, AT(guest)},
    {"command", scenario_take_text, AT(command)},
    {"ping", scenario_take_text, AT(ping)},
    {"accel", scenario_take_accel, AT(accel)},
    {"machine", scenario_take_text, AT(machine)},
    {"ram", scenario_take_ram, AT(ram_bytes)},
    {"vcpus", scenario_take_counts, AT(vcpus)},
    {"working-set", scenario_take_sizes, AT(working_set_bytes)},
    {"dirty-rate", scenario_take_rates, AT(dirty_bytes_per_s)},
    {"link", scenario_take_links, AT(link_bytes_per_s)},
    {"qemu-source", scenario_take_text, AT(qemu[TRIAL_SOURCE])},
    {"qemu-destination", scenario_take_text, AT(qemu[TRIAL_DESTINATION])},
    {"route", scenario_take_routes, AT(routes)},
    {"rounds", scenario_take_rounds, AT(rounds)},
    {"timeout", scenario_take_time, AT(timeout_ns)},
};

enum { SCENARIO_KEYS = sizeof keys / sizeof *keys };

/* ---- settings ---- */

bool scenario_is_option(const char *word)
{
    static const char *const own[] = {
        "postcopy",       "pause",         "passes",       "multifd",  "compression",
        "downtime-limit", "max-bandwidth", "max-downtime", "max-time", "max-slowdown",
        "allow",          "on-miss",       "policy"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i], word) == 0)
            return true;
    return false;
}

/* The words that have units of ours; the others are QEMU's, which knows better. */
static int scenario_check_word(const struct scenario_word *w, struct err *e)
{
    uint64_t n;
    int64_t ns;
    if (strcmp(w->name, "postcopy") == 0 || strcmp(w->name, "pause") == 0 ||
        strcmp(w->name, SCENARIO_UNOBSERVED) == 0)
        return w->value[0] == '\0' ? 0 : err_set(e, ERR_USAGE, 0, "'%s' has no value", w->name);
    if (w->value[0] == '\0') {
        err_set(e, ERR_USAGE, 0, "'%s' has no value", w->name);
        return err_hint(e, "a capability is switched by %s=on", w->name);
    }
    if (strcmp(w->name, "multifd") == 0 || strcmp(w->name, "passes") == 0)
        return scenario_count(w->value, &n, e);
    if (strcmp(w->name, "downtime-limit") == 0 || strcmp(w->name, "max-downtime") == 0 ||
        strcmp(w->name, "max-time") == 0)
        return units_parse_duration(w->value, &ns, e);
    if (strcmp(w->name, "max-bandwidth") == 0)
        return units_parse_rate(w->value, &n, e);
    if (strcmp(w->name, "policy") == 0)
        return scenario_choice(w->value, policy_names, e) < 0 ? -1 : 0;
    if (strcmp(w->name, "compression") == 0) {
        static const char *const names[] = {"none", "zlib", "zstd", NULL};
        return scenario_choice(w->value, names, e) < 0 ? -1 : 0;
    }
    return 0;
}

static int scenario_add_word(struct scenario_setting *s, char *text, struct err *e)
{
    char *value = strchr(text, '=');
    if (value != NULL)
        *value++ = '\0';
    if (s->n == SCENARIO_WORDS_MAX)
        return err_set(e, ERR_USAGE, 0, "there are more than %d words", SCENARIO_WORDS_MAX);
    struct scenario_word *w = &s->words[s->n];
    if (strlen(text) >= sizeof w->name || (value != NULL && strlen(value) >= sizeof w->value))
        return err_set(e, ERR_USAGE, 0, "'%s' is too long", text);
    snprintf(w->name, sizeof w->name, "%s", text);
    snprintf(w->value, sizeof w->value, "%s", value != NULL ? value : "");
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->words[i].name, w->name) == 0)
            return err_set(e, ERR_USAGE, 0, "'%s' is given twice", w->name);
    s->n++;
    return scenario_check_word(w, e);
}

static int scenario_take_setting(struct scenario *s, const char *name, char *value, struct err *e)
{
    for (size_t i = 0; i < s->settings_n; i++)
        if (strcmp(s->settings[i].name, name) == 0)
            return err_set(e, ERR_USAGE, 0, "setting '%s' is given twice", name);
    if (s->settings_n == SCENARIO_SETTINGS_MAX)
        return err_set(e, ERR_USAGE, 0, "there are more than %d settings", SCENARIO_SETTINGS_MAX);
    struct scenario_setting *to = &s->settings[s->settings_n++];
    if (*name == '\0' || strlen(name) >= sizeof to->name || strlen(value) >= sizeof to->text)
        return err_set(e, ERR_USAGE, 0,
                       "setting '%s': its name or its words are too long, or missing", name);
    *to = (struct scenario_setting){0};
    snprintf(to->name, sizeof to->name, "%s", name);
    snprintf(to->text, sizeof to->text, "%s", value);
    for (char *word; (word = strsep(&value, " \t")) != NULL;)
        if (*word != '\0' && scenario_add_word(to, word, e) < 0)
            return err_wrap(e, "setting %s", name);
    return 0;
}

/* ---- the file ---- */

static int scenario_unknown(const char *key, struct err *e)
{
    char list[256] = "";
    for (size_t i = 0; i < SCENARIO_KEYS; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s, ", keys[i].name);
    }
    err_set(e, ERR_USAGE, 0, "'%s' is not a key", key);
    return err_hint(e, "the keys are %ssetting NAME", list);
}

/* A scenario while it is read. */
struct scenario_reading {
    struct scenario *scenario;
    bool seen[SCENARIO_KEYS];
};

static int scenario_take_line(void *arg, char *key, char *value, struct err *e)
{
    static const char setting[] = "setting";
    struct scenario_reading *r = arg;
    struct scenario *s = r->scenario;
    if (strncmp(key, setting, strlen(setting)) == 0 && isspace((unsigned char)key[strlen(setting)]))
        return scenario_take_setting(s, key_lines_trim(key + strlen(setting)), value, e);
    for (size_t i = 0; i < SCENARIO_KEYS; i++) {
        if (strcmp(keys[i].name, key) != 0)
            continue;
        if (r->seen[i])
            return err_set(e, ERR_USAGE, 0, "'%s' is given twice", key);
        r->seen[i] = true;
        if (keys[i].take(value, (char *)s + keys[i].offset, keys[i].size, e) < 0)
            return err_wrap(e, "%s", key);
        return 0;
    }
    return scenario_unknown(key, e);
}

static void scenario_default(struct scenario_numbers *list, uint64_t value)
{
    if (list->n == 0)
        *list = (struct scenario_numbers){.at = {value}, .n = 1};
}

static bool scenario_has_route(const struct scenario *s, enum trial_route route)
{
    for (size_t i = 0; i < s->routes.n; i++)
        if (s->routes.at[i] == (uint64_t)route)
            return true;
    return false;
}

/* What does not go together. */
static int scenario_check(const struct scenario *s, struct err *e)
{
    bool domains = s->routes.n > (scenario_has_route(s, TRIAL_QMP) ? 1 : 0);
    bool command = s->guest == SCENARIO_COMMAND;
    if (command != (s->command[0] != '\0'))
        return err_set(e, ERR_USAGE, 0,
                       command ? "guest = command needs a 'command'"
                               : "a 'command' is for guest = command");
    if (command && (s->ram_bytes.at[0] | s->working_set_bytes.at[0] | s->vcpus.at[0] |
                    s->dirty_bytes_per_s.at[0]) != 0) {
        err_set(e, ERR_USAGE, 0, "ram, vcpus, working-set and dirty-rate are for built-in guests");
        return err_hint(e, "the command says what a guest of your own has");
    }
    if (command && s->where != SCENARIO_LOCAL)
        return err_set(e, ERR_USAGE, 0, "guest = command needs where = local");
    if (command && s->ping[0] == '\0' && strstr(s->command, "{serial}") == NULL) {
        err_set(e, ERR_USAGE, 0, "nothing of this guest can be observed");
        return err_hint(e, "give 'ping', or -serial file:{serial} in the command");
    }
    if (s->ping[0] != '\0' && !command && (s->guest != SCENARIO_LINUX || s->where != SCENARIO_LAB))
        return err_set(e, ERR_USAGE, 0, "'ping': only the Linux guest in the lab has a network");
    if (s->where == SCENARIO_LOCAL && domains)
        return err_set(e, ERR_USAGE, 0, "where = local has only the route qmp");
    if (s->where == SCENARIO_LOCAL && (s->link_bytes_per_s.n > 1 || s->link_bytes_per_s.at[0] > 0))
        return err_set(e, ERR_USAGE, 0, "where = local has no link whose rate could be set");
    if (s->where == SCENARIO_LAB && (s->qemu[0][0] != '\0' || s->qemu[1][0] != '\0')) {
        err_set(e, ERR_USAGE, 0, "the lab's hosts have their QEMUs already");
        return err_hint(e, "give them others by: tools/lab up --qemu HOST=TREE");
    }
    if (s->settings_n == 0)
        return err_set(e, ERR_USAGE, 0, "there is no 'setting NAME ='");
    if (scenario_cells(s) > SCENARIO_CELLS_MAX)
        return err_set(e, ERR_USAGE, 0, "there are %zu combinations, and at most %d can be",
                       scenario_cells(s), SCENARIO_CELLS_MAX);
    return 0;
}

static void scenario_complete(struct scenario *s)
{
    const uint64_t mib = s->guest == SCENARIO_COMMAND ? 0 : 1 << 20; /* not known */
    if (s->machine[0] == '\0')
        memcpy(s->machine, "q35", sizeof "q35");
    if (s->accel[0] == '\0')
        memcpy(s->accel, "tcg", sizeof "tcg");
    scenario_default(&s->ram_bytes, (s->guest == SCENARIO_BARE ? 64 : 256) * mib);
    scenario_default(&s->working_set_bytes, 32 * mib);
    scenario_default(&s->vcpus, s->guest == SCENARIO_COMMAND ? 0 : 1);
    scenario_default(&s->dirty_bytes_per_s, 20 * mib);
    scenario_default(&s->link_bytes_per_s, 0);
    scenario_default(&s->routes, s->where == SCENARIO_LOCAL ? TRIAL_QMP : TRIAL_DIRECT);
    if (s->rounds == 0)
        s->rounds = 5;
    if (s->timeout_ns == 0)
        s->timeout_ns = SCENARIO_TIMEOUT_NS;
}

static void scenario_name(struct scenario *s, const char *file)
{
    const char *slash = strrchr(file, '/');
    snprintf(s->name, sizeof s->name, "%s", slash != NULL ? slash + 1 : file);
    char *dot = strrchr(s->name, '.');
    if (dot != NULL && dot != s->name)
        *dot = '\0';
}

int scenario_parse(const char *text, const char *file, struct scenario *s, struct err *e)
{
    struct scenario_reading reading = {.scenario = s};
    *s = (struct scenario){0};
    scenario_name(s, file);
    if (key_lines_parse(text, file, scenario_take_line, &reading, e) < 0)
        return -1;
    scenario_complete(s);
    return scenario_check(s, e) < 0 ? err_wrap(e, "%s", file) : 0;
}

static const char built_in_lab[] =
    "# What libvirt's users see first: as it comes, and with a promise of 20 ms.\n"
    "where = lab\n"
    "guest = linux\n"
    "dirty-rate = 20M\n"
    "route = virsh, native, direct\n"
    "setting default =\n"
    "setting 20ms = downtime-limit=20ms\n"
    "rounds = 5\n";

static const char built_in_local[] = "# Two QEMUs of this machine, and no libvirt.\n"
                                     "where = local\n"
                                     "guest = bare\n"
                                     "working-set = 16M\n"
                                     "dirty-rate = 8M\n"
                                     "route = qmp\n"
                                     "setting default =\n"
                                     "setting 20ms = downtime-limit=20ms\n"
                                     "setting multifd-2 = multifd=2 downtime-limit=20ms\n"
                                     "setting postcopy = postcopy\n"
                                     "rounds = 5\n";

const char *scenario_built_in(enum scenario_where where)
{
    return where == SCENARIO_LAB ? built_in_lab : built_in_local;
}

/* ---- cells ---- */

/* Takes the last digit off *i, in a number system of changing base. */
static size_t scenario_digit(size_t *i, size_t base)
{
    size_t digit = *i % base;
    *i /= base;
    return digit;
}

static size_t scenario_cells_of_guest(const struct scenario *s)
{
    return s->settings_n * s->routes.n * s->link_bytes_per_s.n;
}

static size_t scenario_guests(const struct scenario *s)
{
    return s->ram_bytes.n * s->working_set_bytes.n * s->vcpus.n * s->dirty_bytes_per_s.n;
}

size_t scenario_cells(const struct scenario *s)
{
    return scenario_cells_of_guest(s) * scenario_guests(s);
}

static size_t scenario_guest_of(const struct scenario *s, size_t i)
{
    return i / scenario_cells_of_guest(s);
}

const struct scenario_setting *scenario_setting_of(const struct scenario *s, size_t i)
{
    return &s->settings[i / s->routes.n % s->settings_n];
}

void scenario_cell(const struct scenario *s, size_t i, struct trial_cell *cell)
{
    static const char *const guests[] = {"bare", "linux", "command"};
    const struct scenario_setting *setting = scenario_setting_of(s, i);
    *cell = (struct trial_cell){0};
    snprintf(cell->guest, sizeof cell->guest, "%s", guests[s->guest]);
    snprintf(cell->accel, sizeof cell->accel, "%s", s->accel);
    snprintf(cell->setting, sizeof cell->setting, "%s", setting->name);
    snprintf(cell->options, sizeof cell->options, "%s", setting->text);
    cell->route = (enum trial_route)s->routes.at[scenario_digit(&i, s->routes.n)];
    scenario_digit(&i, s->settings_n);
    cell->link_bytes_per_s = s->link_bytes_per_s.at[scenario_digit(&i, s->link_bytes_per_s.n)];
    cell->dirty_bytes_per_s = s->dirty_bytes_per_s.at[scenario_digit(&i, s->dirty_bytes_per_s.n)];
    cell->working_set_bytes = s->working_set_bytes.at[scenario_digit(&i, s->working_set_bytes.n)];
    cell->vcpus = (unsigned)s->vcpus.at[scenario_digit(&i, s->vcpus.n)];
    cell->ram_bytes = s->ram_bytes.at[scenario_digit(&i, s->ram_bytes.n)];
}

bool scenario_one_way(const struct scenario *s)
{
    return strcmp(s->qemu[TRIAL_SOURCE], s->qemu[TRIAL_DESTINATION]) != 0;
}

bool scenario_same_guest(const struct scenario *s, size_t i, size_t k)
{
    struct trial_cell a, b;
    scenario_cell(s, i, &a);
    scenario_cell(s, k, &b);
    return scenario_guest_of(s, i) == scenario_guest_of(s, k) &&
           (a.route == TRIAL_QMP) == (b.route == TRIAL_QMP);
}

void scenario_order(const struct scenario *s, uint64_t seed, unsigned round, size_t *order)
{
    size_t guests[SCENARIO_CELLS_MAX], inside[SCENARIO_CELLS_MAX];
    size_t guests_n = scenario_guests(s), inside_n = scenario_cells_of_guest(s), n = 0;
    stats_shuffle(seed, (uint64_t)round << 32, guests, guests_n);
    for (size_t g = 0; g < guests_n; g++) {
        stats_shuffle(seed, (uint64_t)round << 32 | (guests[g] + 1), inside, inside_n);
        size_t first = guests[g] * inside_n;
        for (int turn = 0; turn < 2; turn++) /* those of the kind that comes first, the others */
            for (size_t k = 0; k < inside_n; k++)
                if (scenario_same_guest(s, first + inside[0], first + inside[k]) == (turn == 0))
                    order[n++] = first + inside[k];
    }
}
