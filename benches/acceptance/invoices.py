#!/usr/bin/env python3
"""Runs all invoices of a folder through the API and scores the values found.

The folder holds NAME.pdf with NAME.expected.json, which names its taxonomy in taxonomies/. Amounts count by absolute
value, dates as ISO 8601, other values without case and anything but letters and digits. Of a value that occurs several
times the first is taken. "sure" are the values with a confidence of 0.8 or more among those that are expected;
"unasked" are sure values of names for which nothing is expected: nobody knows whether they are right.
"""

import json
import re

import harness

GENERIC = "invoice-generic.json"
SURE = 0.8


def main():
    parser = harness.arguments(__doc__, "folder of invoices")
    parser.add_argument("--details", action="store_true", help="print every expected value with what was found")
    options = harness.parse(parser)
    verdicts = harness.Verdicts(options.database)
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
            score.show(case["document"])
            totals["generic" if case["taxonomy"] == GENERIC else "own"].add(score)
            totals["all"].add(score)
        print()
        totals["own"].show("one issuer's taxonomies")
        totals["generic"].show("the generic taxonomy")
        totals["all"].show("all")
    own, generic, both = totals["own"], totals["generic"], totals["all"]
    verdicts.add(not late, "every invoice's job ends", f"{len(ids) - len(late)} of {len(ids)}")
    verdicts.add(own.expected and own.share() >= 0.95, "values with one issuer's taxonomy >= 0.95", own.text())
    verdicts.add(generic.expected and generic.share() >= 0.60, "values with the generic taxonomy >= 0.60", generic.text())
    verdicts.add(both.sure and both.sure_right / both.sure >= 0.95, "right at confidence >= 0.8: >= 0.95",
                 f"{both.sure_right / max(both.sure, 1):.3f} ({both.sure_right} of {both.sure})")
    verdicts.finish()


class Score:
    """Counts of values."""

    def __init__(self):
        self.expected = self.right = self.sure = self.sure_right = self.unasked = 0

    def add(self, other):
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def count(self, case, found, details):
        first = {}
        for point in found:
            if point.get("value") is not None:
                first.setdefault(point["name"], point)
        for name, wanted in case["data_points"].items():
            point = first.get(name)
            right = point is not None and same(point, wanted)
            sure = point is not None and point["confidence"] >= SURE
            self.expected += 1
            self.right += right
            self.sure += sure
            self.sure_right += sure and right
            if details:
                shown = point and f"{point['value']!r} -> {point['normalized']!r} at {point['confidence']:.2f}"
                print(f"  {'ok   ' if right else 'WRONG'} {name}: {wanted['value']!r} | {shown}")
        for name, point in first.items():
            hidden = case.get("not_printed_on_page", {}).get(name)
            if name not in case["data_points"] and point["confidence"] >= SURE and not (hidden and same(point, hidden)):
                self.unasked += 1
                if details:
                    print(f"  ?     {name}: {point['value']!r} at {point['confidence']:.2f}")

    def share(self):
        return self.right / max(self.expected, 1)

    def text(self):
        return f"{self.share():.3f} ({self.right} of {self.expected})"

    def show(self, name):
        sure = self.sure_right / self.sure if self.sure else 1
        print(f"{name:<62} {self.right:>3}/{self.expected:<3} {self.share():.3f}   "
              f"sure {self.sure_right:>3}/{self.sure:<3} {sure:.3f}   unasked {self.unasked}")


def same(point, wanted):
    kind, value = wanted["type"], wanted["value"]
    normalized = point.get("normalized")
    if kind in ("amount", "number"):
        try:
            return abs(abs(float(normalized)) - abs(float(value))) < 0.005
        except (TypeError, ValueError):
            return False
    if kind == "date":
        return normalized == value
    return plain(point["value"]) == plain(value)


def plain(text):
    return re.sub(r"[\W_]", "", str(text)).casefold()


if __name__ == "__main__":
    main()
