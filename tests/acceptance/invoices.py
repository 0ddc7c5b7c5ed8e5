#!/usr/bin/env python3
"""Runs jobs on all invoices of a folder and scores the extracted values.

The folder contains NAME.pdf with NAME.expected.json, which names its taxonomy in taxonomies/. Amounts are compared by
absolute value, dates as ISO 8601, and other values by letters and digits without case. If a data point occurs several
times, the first value counts. "sure" counts the expected values with a confidence of 0.8 or more. "unexpected" counts sure
values without an expected value, whose correctness is unknown.
"""

import json
import re

import harness

GENERIC = "invoice-generic.json"
SURE_CONFIDENCE = 0.8


def main():
    parser = harness.arguments(__doc__, "folder of invoices")
    parser.add_argument("--details", action="store_true", help="print every expected value with the value found")
    options = harness.parse(parser)
    report = harness.Report(options.database)
    cases = [json.loads(path.read_text()) for path in sorted(options.folder.glob("*.expected.json"))]
    with harness.Server(options) as server:
        server.start()
        client, names, ids = server.client, {}, []
        for case in cases:
            taxonomy = case["taxonomy"]
            if taxonomy not in names:
                definition = json.loads((options.folder / "taxonomies" / taxonomy).read_text())
                names[taxonomy] = client.put_taxonomy(definition)
            document = client.upload(options.folder / case["document"], case["document"], "application/pdf")
            ids.append(client.create_job(document, taxonomy=names[taxonomy]))
        late = client.wait(ids, 300)
        totals = {"own": Score(), "generic": Score(), "all": Score()}
        for case, job_id in zip(cases, ids):
            score = Score()
            job = client.job(job_id)
            if job["status"] == "COMPLETED":
                found = json.loads(client.content(job_id, "mapping-json"))["data_points"]
                score.count(case, found, options.details)
            else:
                print(f"{case['document']}: {job['status']} {job['failure']}")
                score.count(case, [], options.details)
            score.print_row(case["document"])
            totals["generic" if case["taxonomy"] == GENERIC else "own"].add(score)
            totals["all"].add(score)
        print()
        totals["own"].print_row("taxonomies of one issuer")
        totals["generic"].print_row("generic taxonomy")
        totals["all"].print_row("all")
    own, generic, both = totals["own"], totals["generic"], totals["all"]
    report.add(not late, "the job of every invoice ends", f"{len(ids) - len(late)} of {len(ids)}")
    report.add(own.expected and own.accuracy() >= 0.95, "values with the taxonomy of one issuer >= 0.95", own.summary())
    report.add(generic.expected and generic.accuracy() >= 0.60, "values with the generic taxonomy >= 0.60", generic.summary())
    report.add(both.sure and both.sure_correct / both.sure >= 0.95, "correct values at confidence >= 0.8: >= 0.95",
                 f"{both.sure_correct / max(both.sure, 1):.3f} ({both.sure_correct} of {both.sure})")
    report.finish()


class Score:
    """Counts of correct, sure and unexpected values."""

    def __init__(self):
        self.expected = self.correct = self.sure = self.sure_correct = self.unexpected = 0

    def add(self, other):
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def count(self, case, found, details):
        first = {}
        for point in found:
            if point.get("value") is not None:
                first.setdefault(point["name"], point)
        for name, expected in case["data_points"].items():
            point = first.get(name)
            correct = point is not None and is_same_value(point, expected)
            sure = point is not None and point["confidence"] >= SURE_CONFIDENCE
            self.expected += 1
            self.correct += correct
            self.sure += sure
            self.sure_correct += sure and correct
            if details:
                shown = point and f"{point['value']!r} -> {point['normalized']!r} at {point['confidence']:.2f}"
                print(f"  {'ok   ' if correct else 'WRONG'} {name}: {expected['value']!r} | {shown}")
        for name, point in first.items():
            unprinted = case.get("not_printed_on_page", {}).get(name)
            if name not in case["data_points"] and point["confidence"] >= SURE_CONFIDENCE and not (unprinted and is_same_value(point, unprinted)):
                self.unexpected += 1
                if details:
                    print(f"  ?     {name}: {point['value']!r} at {point['confidence']:.2f}")

    def accuracy(self):
        return self.correct / max(self.expected, 1)

    def summary(self):
        return f"{self.accuracy():.3f} ({self.correct} of {self.expected})"

    def print_row(self, name):
        sure = self.sure_correct / self.sure if self.sure else 1
        print(f"{name:<62} {self.correct:>3}/{self.expected:<3} {self.accuracy():.3f}   "
              f"sure {self.sure_correct:>3}/{self.sure:<3} {sure:.3f}   unexpected {self.unexpected}")


def is_same_value(point, expected):
    kind, value = expected["type"], expected["value"]
    normalized = point.get("normalized")
    if kind in ("amount", "number"):
        try:
            return abs(abs(float(normalized)) - abs(float(value))) < 0.005
        except (TypeError, ValueError):
            return False
    if kind == "date":
        return normalized == value
    return normalize(point["value"]) == normalize(value)


def normalize(text):
    return re.sub(r"[\W_]", "", str(text)).casefold()


if __name__ == "__main__":
    main()
