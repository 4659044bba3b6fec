"""The JSON Schema of bench results, from the types that are declared: `python -m lab.bench_schema`.

Fields, types, choices and what may be absent come from the dataclasses of `nstc.benchmarks.result`;
here is what their `to_dict` adds and renames, and bounds of measured numbers. A test holds the file
that is installed to what this writes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from nstc.benchmarks import result
from nstc.benchmarks.result import SCHEMA
from nstc.benchmarks.timing.statistics import TAIL_ENDS

FILE: Final = Path(result.__file__).parent / f"bench-{SCHEMA.rpartition('/')[2]}.schema.json"

_NAMES: Final = {
    "LatencySummary": "latency",
    "Footprint": "memory",
    "BenchProtocol": "protocol",
    "MachineNoise": "watch",
    "OptimizedRow": "optimized",
    "InstructionCount": "instructions",
}
# What the reader refuses besides, and what Python alone has, is not of the form.
_LEFT_OUT: Final = ("title", "description", "default", "maximum", "maxLength", "minLength")
_BOUNDS: Final[Mapping[str, tuple[str, ...]]] = {
    "exclusiveMinimum": (
        *("int8_gmac_s", "float_gmac_s", "bandwidth_gb_s", "frames_per_second", "intensity"),
        *("batched_frames_per_second", "attainable_gmac_s", "achieved_gmac_s", "p95", "samples"),
        "fewer",
    ),
    "minimum": (
        *("void_rounds", "drifting_rounds", "unsteady_sessions", "peak_bytes", "network_bytes"),
        *("arena_bytes", "cold_start_ms", "energy_mj", "seed", "seconds", "rounds"),
    ),
}
_AT_LEAST_ONE: Final = (*("threads", "tick_ns", "size", "count", "photos", "graph_batch", "steps"),)
_WORDS: Final = {
    "latency": "Milliseconds.",
    "memory": "Of a fresh process.",
    "optimized": "Pictures made without a network by optimising an image: how low the losses go.",
    "steps": "of the optimiser, for each picture",
    "seconds": "for each picture, the median, when they were made",
    "peaks": "The most that the place was measured to do.",
    "quality": "Every further key is a metric's median; its ends stand under intervals.",
    "interval": "null is infinity",
    "tails": "of some metrics of which less is better, by the metric's name",
    "tail": "90th percentile over photographs, interpolated linearly, and worst; null is infinity",
    "counts": "exact numbers, the same on every machine",
    "void_rounds": "timed anew because the reference had drifted",
    "drifting_rounds": "kept although it had",
    "unsteady_sessions": "not warm after the bound",
    "tick_ns": "resolution of the timer",
    "energy_mj": "a frame, of the whole machine",
    "instructions": "Of a picture, start-up subtracted; fewer is the reference's divided by them.",
    "intensity": "multiply-accumulates for each byte moved",
}
_COMMIT: Final = {"type": "string", "pattern": "^[0-9a-f]{40,64}$"}
_DATE: Final = {"type": "string", "format": "date-time"}
_NUMBER: Final = {"type": ["number", "null"]}


def generated() -> dict[str, Any]:
    """The schema, as JSON values."""
    types = [result.BenchProtocol, result.Reference, result.Row, result.OptimizedRow]
    _, parts = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    parts = {_name(name): _form(part) for name, part in parts.items()}
    _as_written(parts)
    for name, part in parts.items():
        for key, own in part["properties"].items():
            _bound(key, own)
            if key in _WORDS and "$ref" not in own:
                own["description"] = _WORDS[key]
        if name in _WORDS:
            part["description"] = _WORDS[name]
    texts = {"type": "array", "items": {"type": "string"}}
    taken = {
        "date": _DATE,
        "commit": _COMMIT,
        "commit_date": _DATE,
        "modified": {"type": "boolean"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "description": (
            "What nstc bench --json writes. Keys may be added; those that are here keep their "
            "meaning."
        ),
        "type": "object",
        "required": ["schema", "machine", "protocol", "references", "rows"],
        "properties": {
            "schema": {"const": SCHEMA},
            "machine": {"type": "object"},
            "protocol": {"$ref": "#/$defs/protocol"},
            "references": {"type": "array", "items": {"$ref": "#/$defs/reference"}},
            "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}},
            "optimized": {
                "description": "One for each style, where --against optimized was given.",
                "type": "array",
                "items": {"$ref": "#/$defs/optimized"},
            },
            "unfinished": texts,
            "taken": {
                "description": (
                    "When, and at which commit of the repository that the command was run in."
                ),
                "type": "object",
                "properties": taken,
            },
        },
        "$defs": parts,
    }


def _as_written(parts: dict[str, dict[str, Any]]) -> None:
    """What `to_dict` of these types adds to their fields, leaves out, and names otherwise."""
    row, reference, quality = parts["row"], parts["reference"], parts["quality"]
    for part, names in (
        (reference, {"peaks": "roofline"}),
        (row, {"size_bytes": "bytes", "footprint": "memory"}),
    ):
        for name, key in names.items():
            part["properties"][key] = part["properties"].pop(name)
        part["required"] = [names.get(name, name) for name in part["required"]]
        # what was not measured is not null but absent
        for key in set(part["properties"]) - set(part["required"]):
            part["properties"][key] = _without_null(part["properties"][key])
    # In a check that judges no times there are none, and no rounds.
    for part in (row, reference):
        timed = ("latency_ms", "speedup")
        part["required"] = [name for name in part["required"] if name not in timed]
    row["properties"]["cold_start_ms"] = parts["memory"]["properties"].pop("cold_start_ms")
    parts["memory"]["required"].remove("cold_start_ms")
    row["properties"]["precision"] = {"$ref": "#/$defs/precision"}
    counted = parts["instructions"]
    for name in ("functions", "operators"):  # which a baseline keeps
        del counted["properties"][name]
        counted["required"].remove(name)
    counted["properties"]["fewer"] = _without_null(counted["properties"]["fewer"])
    more = {"type": ["integer", "null"], "minimum": 1}
    more["description"] = "that would make it conclusive; null where it is, or none would"
    verdicts = {"enum": ["CONCLUSIVE", "INCONCLUSIVE"]}
    tolerance = {"type": "number", "exclusiveMinimum": 0}
    parts["precision"] = _object(verdict=verdicts, tolerance=tolerance, more_rounds=more)
    for name in ("id", "times_id"):
        parts["protocol"]["properties"][name] = {"type": "string", "pattern": "^[0-9a-f]{12}$"}
    parts["protocol"]["required"].append("id")
    parts["roofline"]["properties"]["share"] = {"type": "number", "exclusiveMinimum": 0}
    parts["roofline"]["required"].append("share")
    throughput, latency = parts["throughput"], parts["latency"]
    throughput["required"] = list(throughput["properties"])
    throughput["properties"]["graph_batch"] = {
        "anyOf": [{"type": "integer"}, {"enum": ["any", "unknown"]}]
    }
    # Files of the first schema have no p95; the others were always there.
    latency["properties"] = {
        name: _without_null(own) for name, own in latency["properties"].items()
    }
    latency["required"] = ["median", "iqr", "samples"]
    latency["properties"]["median"] = {"type": "number", "exclusiveMinimum": 0}
    latency["properties"]["samples"]["minItems"] = 1
    # Numbers that may be infinite are null then.
    parts["interval"]["properties"] = dict.fromkeys(("median", "low", "high"), _NUMBER)
    del quality["properties"]["metrics"]
    del quality["properties"]["evidence"]  # which a baseline keeps
    parts["tail"]["properties"] |= dict.fromkeys(TAIL_ENDS, _NUMBER)
    ends = _object(low=_NUMBER, high=_NUMBER)
    quality["properties"]["intervals"] = {"type": "object", "additionalProperties": ends}
    quality["properties"]["few_photos"] = {"type": "boolean"}
    # Files of before they were measured have none.
    quality["required"] = [name for name in quality["properties"] if name != "tails"]
    quality["additionalProperties"] = _NUMBER


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _without_null(own: dict[str, Any]) -> dict[str, Any]:
    if isinstance(own.get("type"), list):
        return {**own, "type": next(name for name in own["type"] if name != "null")}
    choices = [choice for choice in own.get("anyOf", ()) if choice != {"type": "null"}]
    return choices[0] if len(choices) == 1 else own


def _bound(key: str, own: dict[str, Any]) -> None:
    """Bound a number, the items of a list, or the values of an object, in place."""
    for inner in (own, own.get("items"), own.get("additionalProperties"), *own.get("anyOf", ())):
        if not isinstance(inner, dict) or not {"integer", "number"} & {*_types(inner)}:
            continue
        for bound, names in _BOUNDS.items():
            if key in names:
                inner[bound] = 0
        if key in _AT_LEAST_ONE or key == "sampled_photos":
            inner["minimum"] = 1


def _types(own: dict[str, Any]) -> list[str]:
    kind = own.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def _name(name: str) -> str:
    return _NAMES.get(name, name.lower())


def _form(own: Any) -> Any:
    """The same in the file's own words: its names of parts, and types as lists."""
    if isinstance(own, list):
        return [_form(inner) for inner in own]
    if not isinstance(own, dict):
        return own
    if "$ref" in own:
        return {"$ref": f"#/$defs/{_name(own['$ref'].rpartition('/')[2])}"}
    found = {key: _form(inner) for key, inner in own.items() if key not in _LEFT_OUT}
    choices = found.get("anyOf")
    if choices and all(set(_types(choice)) for choice in choices):
        types = dict.fromkeys(name for choice in choices for name in _types(choice))
        if "number" in types:  # every whole number is one
            types.pop("integer", None)
        found = {key: value for choice in choices for key, value in choice.items()}
        found["type"] = list(types)
    return found


def main() -> None:
    """Write the file that is installed."""
    FILE.write_text(json.dumps(generated(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
