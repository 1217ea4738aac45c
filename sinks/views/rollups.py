"""The roll-ups: metrics of a class, a teacher, a school, a group or the district, merged from those of single lessons.

Both views are one text, made from the declarations: how each metric merges is said there (``Metric.merge``). A row of
``pane_versions`` counts once in each entity, whichever of its places brings it there.
"""

from collections.abc import Callable, Iterable
from typing import Final

from schemas.metrics.catalogue import METRICS
from schemas.metrics.classroom.questions import SKETCH_ACCURACY
from schemas.metrics.metric import Metric
from schemas.metrics.persons import PERSON_METRICS, PERSON_PARTS, PersonMetric
from schemas.metrics.rules import ENGAGEMENT_PARTS
from sinks.views.contract import View

__all__ = ["LEVELS", "VIEWS"]

LEVELS: Final = ("student", "class", "teacher", "school", "group", "district")

_BUCKET_RATIO: Final = (1 + SKETCH_ACCURACY) / (1 - SKETCH_ACCURACY)

_PARAMETERS: Final = {
    "level": ", ".join(LEVELS),
    "school": "only this school; empty: all. For groups: only the group of this school, with all its members. For the "
    "district: without effect",
    "as_of": "what was known at this instant; the far future for now",
    "day_from": "first local day",
    "day_to": "last local day",
}
_COLUMNS: Final = {
    "level": "student, class, teacher, school, group or district",
    "entity_id": "the student, the class ...; district for the district",
    "day": "local day of the lesson's start, of the week's Monday, of the activity's scheduled end",
    "metric": "name of the metric",
    "item": "see the metric catalogue; empty for most",
    "value": "numerator / denominator; NULL where the denominator is 0",
    "numerator": "merged as the metric catalogue says",
    "denominator": "merged as the metric catalogue says",
    "sample_size": "samples of all lessons, weeks or activities together",
    "keys": "number of lessons, teachers' weeks or activities merged",
}


_FEATURES: Final = {
    "level": "student, class, teacher, school, group or district",
    "entity_id": "the student, the class ...; district for the district",
    "week": "Monday of the ISO week of the lessons, the preparation and the ends of activities",
    "metric": "name of the metric",
    "item": "see the metric catalogue; empty for most",
    "value": "numerator / denominator; NULL where the denominator is 0",
    "sample_size": "samples of all lessons, weeks or activities together",
    "coverage": "share of the entity's lessons, teachers' weeks or activities of the week in which the metric was measured",
    "unit": "unit of the value",
    "lowest": "smallest value possible",
    "highest": "largest value possible; NULL: there is no bound that holds for all",
    "catalogue_version": "version of the formulas; 0 where rows of several versions were merged",
}
# A lesson counts once in an entity: not at a place if one of the places before it is in the same entity and is read too.
_ROWS: Final = """SELECT entity_id, {day} AS d, family, metric, item, key, numerator, denominator, sample_size, parts,
        catalogue_version, recorded_at, arrayMap(x -> ifNull(x, 0), parts) AS numbers
    FROM
    (
        SELECT {entity} AS entity_id, day, family, window, metric, item, key, numerator, denominator, sample_size, parts,
            catalogue_version, recorded_at, earlier, row_id
        FROM pane_versions
        WHERE ({all_schools} OR school_id IN (SELECT arrayJoin(schools)))
            AND day BETWEEN {{day_from:Date}} AND {{day_to:Date}} AND recorded_at <= {{as_of:DateTime64(3, 'UTC')}} AND live
    )
    WHERE entity_id != ''
        AND NOT arrayExists(p -> ({all_schools} OR has(schools, p.1)) AND {earlier_entity} = entity_id, earlier)
        AND row_id NOT IN (
            SELECT arrayJoin(replaces) FROM pane_versions
            WHERE ({all_schools} OR school_id IN (SELECT arrayJoin(schools)))
                AND day BETWEEN {{day_from:Date}} AND {{day_to:Date}} AND recorded_at <= {{as_of:DateTime64(3, 'UTC')}}
                AND notEmpty(replaces)
        )"""
_ALL_SCHOOLS: Final = "{school:String} = '' OR {level:String} = 'district'"

# By the latest registration of each school; a school that was retired belongs to no group any more.
_GROUPS: Final = """
    (
        SELECT (groupArray(key), groupArray(tupleElement(last, 2)))
        FROM
        (
            SELECT key, argMax((type, group_id), (time, source, id)) AS last
            FROM events_registry
            WHERE type IN ('registry.school.registered', 'registry.entry.retired')
                AND stored_at <= {as_of:DateTime64(3, 'UTC')} AND {level:String} = 'group'
            GROUP BY key
            HAVING tupleElement(last, 1) = 'registry.school.registered' AND tupleElement(last, 2) != ''
        )
    ) AS groups,
    if({level:String} = 'group',
        arrayFilter((s, g) -> has(arrayFilter((o, of) -> of = {school:String}, groups.2, groups.1), g), groups.1, groups.2),
        [{school:String}]) AS schools"""


def _entity(school: str, class_: str, teacher: str, student: str) -> str:
    """Return the expression for the entity of a place; '' for none."""
    # Nested, not a multiIf: the server then leaves out the branches that are not taken.
    return f"""if({{level:String}} = 'class', {class_},
            if({{level:String}} = 'teacher', {teacher},
            if({{level:String}} = 'school', {school},
            if({{level:String}} = 'group', transform({school}, groups.1, groups.2, ''),
            if({{level:String}} = 'district', 'district', {student})))))"""


def _rows(day: str) -> str:
    own = _entity(
        "toString(school_id)",
        "toString(class_id)",
        "if(window = 'activity', '', toString(teacher_id))",
        "if(window = 'student', item, '')",
    )
    # A place before this one has the same students.
    before = _entity("p.1", "p.2", "p.3", "entity_id")
    return _ROWS.format(day=day, entity=own, earlier_entity=before, all_schools=_ALL_SCHOOLS)


def _list(names: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in sorted(names)) + ")"


def _merged_as(merge: str) -> str:
    return _list(metric.name for metric in METRICS if metric.merge == merge and metric.name not in PERSON_PARTS)


_PERSONS: Final = _list(PERSON_PARTS)


def _by_item(day: str) -> str:
    """Return what is merged of each metric and item; of metrics of persons, of each person."""
    summed = _list(PERSON_PARTS)
    joined = _list(metric.name for metric in METRICS if metric.merge in {"values", "sketch"})
    return f"""SELECT entity_id, d, metric, item, sum(numerator) AS numerators, sum(denominator) AS denominators,
        sum(toUInt64(sample_size)) AS samples, count() AS merged_rows, countIf(denominator != 0) AS measured_rows,
        min(catalogue_version) AS oldest, max(catalogue_version) AS newest,
        sumForEachIf(numbers, metric IN {summed}) AS sums,
        groupArrayArrayIf(numbers, metric IN {joined}) AS joined,
        argMaxIf(parts, (recorded_at, key), metric IN {_merged_as("blend")}) AS blend,
        groupUniqArrayIf(cityHash64(key), metric IN {_PERSONS}) AS hashes,
        countIf(metric = 'participant_activity' AND numbers[1] > 0 AND numbers[2] > 0) AS invited_and_joined
    FROM ({_rows(day)})
    WHERE metric NOT IN {_list(metric.name for metric in METRICS if metric.merge == "gini")}
        AND ({{level:String}} != 'student' OR metric = 'student_lesson')
    GROUP BY entity_id, d, metric, item"""


def _by_metric(day: str) -> str:
    """Return the same with the persons of an entity together; ``counts`` are theirs, of those who count, ascending."""
    contributions, joined = (PERSON_PARTS["participant_activity"].index(part) + 1 for part in ("contributions", "joined"))
    return f"""SELECT entity_id, d, metric, if(metric IN {_PERSONS}, '', item) AS of_item,
        sum(i.numerators) AS numerators, sum(i.denominators) AS denominators, sum(i.samples) AS samples,
        sum(i.merged_rows) AS merged_rows, sum(i.measured_rows) AS measured_rows, min(i.oldest) AS oldest,
        max(i.newest) AS newest, sumForEach(i.sums) AS sums, groupArrayArray(i.joined) AS joined,
        any(i.blend) AS blend, sum(i.invited_and_joined) AS invited_and_joined, uniqExactArray(i.hashes) AS merged_keys,
        arraySort(groupArrayIf(
            i.sums[{contributions}],
            metric = 'participant_activity' AND (i.sums[{contributions}] > 0 OR i.sums[{joined}] > 0)
        )) AS counts
    FROM ({_by_item(day)}) AS i
    GROUP BY entity_id, d, metric, of_item"""


# What the sums of a person's parts are preceded by.
_ROWS_AT: Final = 1
_PRODUCT_AT: Final = 2
_PARTS_FROM: Final = 3


def _at(metric: PersonMetric, parts: tuple[str, ...]) -> int:
    """Return where the sum of the parts (of their product, for two) stands."""
    if not parts:
        return _ROWS_AT
    return _PARTS_FROM + PERSON_PARTS[metric.source].index(parts[0]) if len(parts) == 1 else _PRODUCT_AT


def _persons() -> str:
    """Return the metrics of persons as an array of tuples."""

    def by_source(column: Callable[[PersonMetric], str | int | float]) -> str:
        students, participants = (
            [column(metric) for metric in PERSON_METRICS if metric.source == source]
            for source in ("student_lesson", "participant_activity")
        )
        return f"if(metric = 'student_lesson', {students}, {participants})"

    columns = (
        by_source(lambda metric: metric.name),
        by_source(lambda metric: _at(metric, metric.numerator)),
        by_source(lambda metric: _at(metric, metric.denominator)),
        by_source(lambda metric: metric.scale),
        by_source(lambda metric: _at(metric, (metric.sample,) if metric.sample else ())),
    )
    figure = (
        "(name, of_persons[n], of_persons[of] / scale, toUInt64(of_persons[sample]), merged_keys, merged_keys, version)"
    )
    arrays = ",\n                ".join(columns)
    return f"arrayMap((name, n, of, scale, sample) -> {figure},\n                {arrays})"


def _figures(day: str) -> str:
    """Return the metrics: ``f`` is name, numerator, denominator, sample, keys, those where it was measured, version."""
    levels = sorted({metric.quantile for metric in METRICS if metric.merge == "values"})
    values = ", ".join(
        f"metric IN {_list(metric.name for metric in METRICS if metric.merge == 'values' and metric.quantile == level)},"
        f" if(empty(joined), 0, arrayReduce('quantileExactInclusive({level})', joined))"
        for level in levels
    )
    quantiles_of = _list(metric.name for metric in METRICS if metric.merge in {"values", "sketch"})
    sketches = [metric for metric in METRICS if metric.merge == "sketch"]
    names, quantiles = [metric.name for metric in sketches], [metric.quantile for metric in sketches]
    return f"""SELECT entity_id, d, of_item, blend, toFloat64(length(counts)) AS persons,
        -- Buckets ascending, each with its count; one may occur twice.
        arraySort(arrayMap(k -> (joined[2 * k - 1], joined[2 * k]),
            if(metric IN {_merged_as("sketch")}, range(1, intDiv(length(joined), 2) + 1), []))) AS buckets,
        arrayCumSum(buckets.2) AS counted,
        multiIf(
            {values},
            metric IN {_merged_as("sketch")}, if(empty(buckets), 0, 2 * pow({_BUCKET_RATIO!r}, arrayFirst(
                (b, below) -> below > floor(transform(toString(metric), {names}, {quantiles}, 0.) * (counted[-1] - 1)),
                buckets.1, counted)) / ({_BUCKET_RATIO!r} + 1)),
            numerators) AS n,
        if(metric IN {quantiles_of}, toFloat64(notEmpty(joined)), denominators) AS d0,
        arrayConcat([toFloat64(merged_rows), toFloat64(invited_and_joined)], sums) AS of_persons,
        if(oldest = newest, newest, 0) AS version,
        arrayJoin(if(metric IN {_PERSONS},
            arrayConcat(
                {_persons()},
                if(empty(counts) OR {{level:String}} IN ('student', 'class', 'teacher'), [], [('contribution_gini',
                    2 * arraySum((x, k) -> (2 * toFloat64(k) - persons - 1) * x, counts, arrayEnumerate(counts)),
                    2 * persons * arraySum(counts), toUInt64(persons), merged_keys, merged_keys,
                    version)])),
            [(toString(metric), n, d0, samples, merged_rows, measured_rows, version)]
        )) AS f
    FROM ({_by_metric(day)})"""


def _engagement() -> str:
    """Return the merged parts of the blend as an array, NULL where unknown."""
    parts = {name: f"anyOrNullIf(f.2 / f.3, f.1 = '{name}' AND f.3 != 0)" for name in ENGAGEMENT_PARTS}
    parts["participation_gini"] = f"1 - {parts['participation_gini']}"
    rate = parts["interactions_per_student_minute"]
    # Not least(): that leaves a NULL out.
    parts["interactions_per_student_minute"] = f"if({rate} / weights[9] > 1, 1, {rate} / weights[9])"
    return "[" + ",\n            ".join(parts.values()) + "]"


def _features() -> str:
    """Return the query of ``v1_features``: the roll-ups of each week, with what a model has to know about them."""
    families = {metric.name: metric.family for metric in METRICS}
    every: list[Metric | PersonMetric] = [*METRICS, *PERSON_METRICS]
    declared = [
        (
            metric.name,
            families[metric.source if isinstance(metric, PersonMetric) else metric.name],
            metric.unit,
            metric.highest,
        )
        for metric in every
        if metric.name not in PERSON_PARTS
    ]
    rows = ", ".join(
        f"('{name}', '{family}', '{unit}', CAST({'NULL' if highest is None else repr(highest)}, 'Nullable(Float64)'))"
        for name, family, unit, highest in declared
    )
    return f"""SELECT f.level AS level, f.entity_id AS entity_id, f.day AS week, f.metric AS metric, f.item AS item,
    f.value AS value, f.sample_size AS sample_size,
    f.measured / max(f.keys) OVER (PARTITION BY f.entity_id, f.day, m.family) AS coverage,
    m.unit AS unit, toFloat64(0) AS lowest, m.highest AS highest, f.version AS catalogue_version
FROM ({_select("toMonday(day)", "r.6 AS keys, r.7 AS measured, toUInt16(r.8) AS version")}) AS f
INNER JOIN
(
    SELECT t.1 AS metric, t.2 AS family, t.3 AS unit, t.4 AS highest FROM (SELECT arrayJoin([{rows}]) AS t)
) AS m ON f.metric = m.metric"""


def _select(day: str, keys: str = "r.6 AS keys") -> str:
    """Return the query of the roll-ups for each value of ``day``, of all days together if it is empty."""
    return f"""WITH{_GROUPS}
SELECT {{level:String}} AS level, entity_id, {"d AS day, " if day else ""}
    tupleElement(arrayJoin(figures) AS r, 1) AS metric, r.2 AS item,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    if(metric = 'engagement_index',
        arraySum((x, weight) -> ifNull(x * weight, 0), engagement, arraySlice(weights, 5, 4)), r.3) AS numerator,
    -- A platform that was not used in a lesson has no row there; its share is of all lessons nevertheless.
    multiIf(
        metric = 'engagement_index',
        arraySum((x, weight) -> if(x IS NULL, 0, ifNull(weight, 0)), engagement, arraySlice(weights, 5, 4)),
        metric = 'tool_share', lesson_seconds,
        r.4) AS denominator,
    r.5 AS sample_size, {keys}
FROM
(
    SELECT entity_id, d, groupArray((f.1, of_item, f.2, f.3, f.4, f.5, f.6, f.7)) AS figures,
        anyIf(blend, notEmpty(blend)) AS weights, {_engagement()} AS engagement,
        maxIf(f.3, f.1 = 'tool_share' AND of_item = '') AS lesson_seconds
    FROM ({_figures(day or "toDate(0)")})
    GROUP BY entity_id, d
)"""


VIEWS: Final = [
    View(
        "v1_rollups",
        "Metrics merged over the lessons, weeks and activities of day_from to day_to, both included. Quantiles are exact, "
        "but for answer_latency_*: within 1 % of the answer at rank floor(q x (n - 1)), from a DDSketch",
        {name: meaning for name, meaning in _COLUMNS.items() if name != "day"},
        _select(""),
        _PARAMETERS,
    ),
    View(
        "v1_rollup_days",
        "Metrics merged over the lessons, weeks and activities of each local day. Quantiles are exact, but for "
        "answer_latency_*: within 1 % of the answer at rank floor(q x (n - 1)), from a DDSketch",
        _COLUMNS,
        _select("day"),
        _PARAMETERS,
    ),
    View(
        "v1_features",
        "Features for a model: the metrics of each entity and ISO week as they were known at an instant, with their units, "
        "ranges and coverage. Only weeks that were over then are complete: from a Monday, day_from, to a Sunday, day_to",
        _FEATURES,
        _features(),
        _PARAMETERS,
    ),
]
