/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/tune/race.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/tune/estimate.h"

/* In 5 % of the races between equals one is dropped at a look. */
#define RACE_LEVEL 0.05
#define RACE_Z_ONE_SIDED 1.6449
#define RACE_Z_TWO_SIDED 1.9600

struct race_entry {
    double *values; /* by round */
    bool noted;     /* in the round that goes on */
    unsigned dropped_in;
    double rank_sum; /* when it was judged last */
};

struct race {
    struct race_entry *at;
    size_t n, left; /* in the race */
    unsigned rounds, rounds_max;
    size_t trials, trials_max;
    bool over;
    double *room; /* for n values */
};

struct race *race_new(size_t candidates, unsigned rounds_max, size_t trials_max, struct err *e)
{
    struct race *r = calloc(1, sizeof *r);
    bool good = r != NULL;
    if (good) {
        *r = (struct race){
            .n = candidates,
            .left = candidates,
            .rounds_max = rounds_max,
            .over = candidates <= 1 || rounds_max == 0,
            .trials_max = trials_max,
            .at = calloc(candidates + 1, sizeof *r->at),
            .room = calloc(candidates + rounds_max + 1, sizeof *r->room),
        };
        good = r->at != NULL && r->room != NULL;
    }
    for (size_t i = 0; good && i < candidates; i++) {
        r->at[i].values = calloc(rounds_max + 1, sizeof *r->at[i].values);
        good = r->at[i].values != NULL;
    }
    if (good)
        return r;
    race_free(r);
    err_set(e, ERR_IO, ENOMEM, "cannot begin a race of %zu candidates", candidates);
    return NULL;
}

void race_free(struct race *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; r->at != NULL && i < r->n; i++)
        free(r->at[i].values);
    free(r->at);
    free(r->room);
    free(r);
}

bool race_is_over(const struct race *r)
{
    return r->over;
}

bool race_wants(const struct race *r, size_t candidate)
{
    return candidate < r->n && r->at[candidate].dropped_in == 0 && !r->over;
}

size_t race_left(const struct race *r)
{
    return r->left;
}

unsigned race_rounds(const struct race *r)
{
    return r->rounds;
}

unsigned race_dropped_in(const struct race *r, size_t candidate)
{
    return r->at[candidate].dropped_in;
}

size_t race_trials(const struct race *r)
{
    return r->trials;
}

/* ---- who is beaten ---- */

/* From 1, the least; those that are equal share theirs. */
static double race_rank(const struct race *r, size_t candidate, unsigned round)
{
    double value = r->at[candidate].values[round], below = 0, equal = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->at[i].dropped_in > 0)
            continue;
        double other = r->at[i].values[round];
        below += other < value;
        equal += !(other < value) && !(other > value);
    }
    return below + (equal + 1) / 2;
}

/* The quantile of chi squared that 5 % are above: Wilson and Hilferty's. */
static double race_chi_squared(double degrees)
{
    double part = 2 / (9 * degrees);
    return degrees * pow(1 - part + RACE_Z_ONE_SIDED * sqrt(part), 3);
}

/* Of Student's distribution, that 2.5 % are above: the first terms of its expansion by the normal one. */
static double race_student(double degrees)
{
    const double z = RACE_Z_TWO_SIDED, z3 = z * z * z, z5 = z3 * z * z;
    return z + (z3 + z) / (4 * degrees) + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees * degrees);
}

/* Sums the ranks of those in the race, and their squares. */
static double race_sum_ranks(struct race *r)
{
    double squares = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->at[i].rank_sum = 0;
        for (unsigned k = 0; k < r->rounds && r->at[i].dropped_in == 0; k++) {
            double rank = race_rank(r, i, k);
            r->at[i].rank_sum += rank;
            squares += rank * rank;
        }
    }
    return squares;
}

/* How far from the least sum of ranks one may be (W. J. Conover, "Practical Nonparametric Statistics", 5.8); INFINITY:
 * they may all be alike. */
static double race_allowed(struct race *r)
{
    double n = r->rounds, k = (double)r->left, squares = race_sum_ranks(r), between = 0;
    double alike = n * k * (k + 1) * (k + 1) / 4;
    for (size_t i = 0; i < r->n; i++)
        between += r->at[i].dropped_in == 0 ? r->at[i].rank_sum * r->at[i].rank_sum / n : 0;
    if (squares - alike < 1e-9)
        return INFINITY; /* all were equal in each round */
    double friedman = n * (k - 1) * (between - alike) / (squares - alike);
    if (friedman < race_chi_squared(k - 1))
        return INFINITY;
    double rest = fmax(0, 1 - friedman / (n * (k - 1)));
    return race_student((n - 1) * (k - 1)) *
           sqrt(2 * n * rest * (squares - alike) / ((n - 1) * (k - 1)));
}

static void race_drop(struct race *r, size_t candidate)
{
    r->at[candidate].dropped_in = r->rounds;
    r->left--;
}

/* How probable it is that of `rounds` tosses of a coin so many or fewer are heads. */
static double race_chance(unsigned heads, unsigned rounds)
{
    double one = pow(0.5, rounds), sum = 0;
    for (unsigned i = 0; i <= heads; i++) {
        sum += one;
        one *= (double)(rounds - i) / (i + 1);
    }
    return sum;
}

static void race_judge_two(struct race *r, size_t a, size_t b)
{
    unsigned won_a = 0, won_b = 0;
    for (unsigned k = 0; k < r->rounds; k++) {
        won_a += r->at[a].values[k] < r->at[b].values[k];
        won_b += r->at[b].values[k] < r->at[a].values[k];
    }
    if (race_chance(won_a < won_b ? won_a : won_b, won_a + won_b) <= RACE_LEVEL)
        race_drop(r, won_a < won_b ? a : b);
}

static void race_judge(struct race *r)
{
    double least = INFINITY;
    if (r->rounds < RACE_ROUNDS_MIN || r->left < 2)
        return;
    if (r->left == 2) {
        size_t pair[2], n = 0;
        for (size_t i = 0; i < r->n; i++)
            if (r->at[i].dropped_in == 0)
                pair[n++] = i;
        race_judge_two(r, pair[0], pair[1]);
        return;
    }
    double allowed = race_allowed(r);
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].dropped_in == 0)
            least = fmin(least, r->at[i].rank_sum);
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].dropped_in == 0 && r->at[i].rank_sum - least > allowed + 1e-9)
            race_drop(r, i);
}

void race_note(struct race *r, size_t candidate, double value)
{
    if (!race_wants(r, candidate) || r->at[candidate].noted)
        return;
    r->at[candidate].values[r->rounds] = value;
    r->at[candidate].noted = true;
    r->trials++;
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].dropped_in == 0 && !r->at[i].noted)
            return;
    for (size_t i = 0; i < r->n; i++)
        r->at[i].noted = false;
    r->rounds++;
    race_judge(r);
    r->over = r->left <= 1 || r->rounds >= r->rounds_max || r->trials + r->left > r->trials_max;
}

/* ---- who is best ---- */

/* Of those that are still in the race. */
static double race_round_median(const struct race *r, unsigned round)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].dropped_in == 0)
            r->room[n++] = r->at[i].values[round];
    return estimate_quantile(r->room, n, 0.5);
}

size_t race_best(const struct race *r)
{
    size_t best = r->n;
    double least = INFINITY;
    CLEANUP_FREE double *medians = calloc(r->rounds + 1, sizeof *medians);
    for (unsigned k = 0; medians != NULL && k < r->rounds; k++)
        medians[k] = race_round_median(r, k);
    for (size_t i = 0; i < r->n; i++) {
        if (r->at[i].dropped_in > 0)
            continue;
        for (unsigned k = 0; k < r->rounds; k++)
            r->room[k] = medians != NULL && medians[k] > 0 && isfinite(medians[k])
                             ? r->at[i].values[k] / medians[k]
                             : r->at[i].values[k];
        double value = r->rounds > 0 ? estimate_quantile(r->room, r->rounds, 0.5) : 0;
        if (best == r->n || value < least) {
            best = i;
            least = value;
        }
    }
    return best;
}
