"""A strict reader of Prometheus' text format 0.0.4, written from its document, not from our writer.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ - grammar, escaping, order of
HELP and TYPE, one group a metric, uniqueness of a series, and what makes a histogram one.
"""

import math
import re
from itertools import pairwise

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}
SUFFIXES = ("_bucket", "_sum", "_count")


class Malformed(Exception):
    """A line that no collector would take."""


def need(fact, line):
    if not fact:
        raise Malformed(line)


def parse(data):
    """Return {metric: (kind, help, {(sample name, labels): value})}."""
    text = data.decode("utf-8")
    need(text == "" or text.endswith("\n"), "the last line must end")
    found, helps, closed, current = {}, {}, set(), ""
    for line in text.split("\n")[:-1]:
        need("\r" not in line, line)
        if line.startswith("# HELP "):
            name, _, said = line[7:].partition(" ")
            need(NAME.fullmatch(name) and name not in helps and name not in found, line)
            helps[name] = unescape(said, line, quotes=False)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            need(NAME.fullmatch(name) and kind in KINDS and name not in found, line)
            closed.add(current)
            current = name
            found[name] = (kind, helps.get(name, ""), {})
        elif line.strip() and not line.startswith("#"):
            name, labels, value = sample(line)
            owner = current
            need(name == owner or (found[owner][0] == "histogram" and
                                   name in {owner + s for s in SUFFIXES}), line)  # fmt: skip
            need(owner not in closed, line)
            key = name, tuple(sorted(labels.items()))
            need(key not in found[owner][2], line)
            found[owner][2][key] = value
    for name, (kind, _, samples) in found.items():
        need(samples, f"{name} has no sample")
        if kind == "counter":
            need(all(value >= 0 for value in samples.values()), name)
        if kind == "histogram":
            histogram(name, samples)
    return found


def sample(line):
    """Take `name{label="value",...} value` apart, by character."""
    match = NAME.match(line)
    need(match, line)
    at, labels = match.end(), {}
    if line[at : at + 1] == "{":
        at += 1
        while line[at] != "}":
            label = LABEL.match(line, at)
            need(label and line[label.end() : label.end() + 2] == '="', line)
            start = at = label.end() + 2
            while line[at] != '"':
                at += 2 if line[at] == "\\" else 1
                need(at < len(line), line)
            need(label[0] not in labels, line)
            labels[label[0]] = unescape(line[start:at], line, quotes=True)
            at += 1
            if line[at] == ",":
                at += 1
            else:
                need(line[at] == "}", line)
        at += 1
    parts = line[at:].split()
    need(len(parts) == 1, line)  # a timestamp is allowed there, but not in a textfile collector
    return match[0], labels, number(parts[0], line)


def number(text, line):
    if text in ("+Inf", "-Inf", "NaN"):
        return float(text)
    need(re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", text), line)
    return float(text)


def unescape(text, line, *, quotes):
    allowed = {"\\": "\\", "n": "\n"} | ({'"': '"'} if quotes else {})
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\":
            need(text[at + 1 : at + 2] in allowed, line)
            out.append(allowed[text[at + 1]])
            at += 2
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def histogram(name, samples):
    """Check each series of a histogram: le rises, counts do not fall, +Inf is the count."""
    series = {}
    for (sample_name, labels), value in samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        parts = series.setdefault(rest, {"_bucket": [], "_sum": None, "_count": None})
        suffix = sample_name.removeprefix(name)
        if suffix == "_bucket":
            parts[suffix].append((number(dict(labels)["le"], name), value))
        else:
            parts[suffix] = value
    for parts in series.values():
        need(None not in (parts["_sum"], parts["_count"]), name)
        bounds, counts = zip(*parts["_bucket"], strict=True)
        need(all(a < b for a, b in pairwise(bounds)) and math.isinf(bounds[-1]), name)
        need(all(a <= b for a, b in pairwise(counts)) and counts[-1] == parts["_count"], name)
