/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report/report_relocations.h"

#include <inttypes.h>
#include <math.h>

#include "core/json.h"
#include "core/units.h"

static const char *relocations_text(const struct json_place *o, const char *key, struct err *e)
{
    const char *text = json_get_text(o, key, e);
    return text != NULL ? text : "";
}

static const char *relocations_size(char text[UNITS_TEXT_MAX], uint64_t bytes)
{
    return bytes != UINT64_MAX ? units_format_size(text, bytes) : "–";
}

static void relocations_number(struct page *p, double value, int decimals)
{
    if (isnan(value))
        page_element(p, "td", "–");
    else
        page_element(p, "td", "%.*f", decimals, value);
}

static void relocations_row(const struct json_place *o, struct page *p, struct err *e)
{
    struct json_place seconds = json_get(o, "seconds", e), ratios = json_get(o, "ratio", e);
    struct json_place ratio = json_get(&ratios, "seconds", e);
    struct json_place cpu = json_get(o, "cpu_s_per_gib", e);
    uint64_t n = json_need_u64(o, "n", e), rate = json_get_u64(o, "bytes_per_s", e);
    if (e->class != ERR_NONE)
        return;
    page_begin(p, "tr");
    page_element(p, "td class=t", "%s", relocations_text(o, "name", e));
    page_element(p, "td class=t", "%s", relocations_text(o, "role", e));
    page_element(p, "td", "%" PRIu64, n);
    relocations_number(p, json_get_number(&seconds, "median", e), 3);
    relocations_number(p, json_get_number(&seconds, "min", e), 3);
    relocations_number(p, json_get_number(&seconds, "max", e), 3);
    relocations_number(p, n > 0 && rate != UINT64_MAX ? (double)rate / (1 << 30) : NAN, 2);
    relocations_number(p, json_get_number(&ratio, "median", e), 2);
    relocations_number(p, json_get_number(&ratio, "min", e), 2);
    relocations_number(p, json_get_number(&ratio, "max", e), 2);
    relocations_number(p, json_get_number(&cpu, "median", e), 3);
    page_element(p, "td class=t", "%s", relocations_text(o, "state", e));
    page_element(p, "td class=t", "%s", relocations_text(o, "version", e));
    page_end(p, "tr");
}

static void relocations_head(const struct json_place *top, struct page *p, struct err *e)
{
    struct json_place machine = json_get(top, "machine", e);
    char bytes[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX];
    page_element(p, "h2", "Relocation: %s", relocations_text(top, "direction", e));
    page_element(p, "p",
                 "%s: %" PRIu64 " files, %s (%s of data), %s; %" PRIu64 " rounds, seed %" PRIu64
                 "; on %s, %" PRIu64 " cores of %s",
                 relocations_text(top, "share", e), json_get_u64(top, "files", e),
                 relocations_size(bytes, json_get_u64(top, "bytes", e)),
                 relocations_size(data, json_get_u64(top, "data_bytes", e)),
                 relocations_text(top, "cache", e), json_get_u64(top, "rounds", e),
                 json_get_u64(top, "seed", e), relocations_text(&machine, "kernel", e),
                 json_get_u64(&machine, "cores", e), relocations_text(&machine, "cpu", e));
}

static int relocations_section(const struct json_place *top, struct page *p, struct err *e)
{
    struct json_place list = json_get(top, "contestants", e);
    if (e->class == ERR_NONE && list.value == NULL)
        return err_set(
            e, ERR_REFUSED, 0,
            "has no \"kind\" and no \"contestants\": neither of bench migrate nor of bench "
            "relocate");
    size_t n = json_get_length(&list, e);
    relocations_head(top, p, e);
    page_begin(p, "div class=wide");
    page_table(p, "<tool|<role|n|median, s|min|max|GiB/s|time, ×|min|max|CPU, s/GiB|<copies|"
                  "<version");
    for (size_t i = 0; i < n && e->class == ERR_NONE; i++) {
        struct json_place item = json_get_nth(&list, i, e);
        relocations_row(&item, p, e);
    }
    page_end(p, "table");
    page_end(p, "div");
    page_element(p, "p class=note",
                 "×: as many times as long as the first in the same round, the median and the "
                 "extremes of these quotients.");
    return e->class == ERR_NONE ? 0 : -1;
}

int report_relocations(const char *path, struct page *p, struct err *e)
{
    struct json *o = json_open(path, e);
    if (o == NULL)
        return -1;
    struct json_place top = json_top(o);
    int rc = relocations_section(&top, p, e);
    json_close(o);
    return rc < 0 ? err_wrap(e, "%s", path) : 0;
}
