"""Read a report as a browser does: elements, texts, tables and the data block."""

import json
from html.parser import HTMLParser

VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """Elements with their attributes and whole text; complains where tags do not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []  # (name, attributes, text), in order of their start
        self.problems = []
        self._open = []
        self.feed(text)
        self.close()
        self.problems += [f"<{self.elements[k][0]}> is not closed" for k in self._open]

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        if not self._open or self.elements[self._open[-1]][0] != tag:
            self.problems.append(f"</{tag}> closes nothing at {self.getpos()}")
        else:
            self._open.pop()

    def handle_data(self, data):
        for k in self._open:
            self.elements[k][2] += data

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [e for e in self.elements if e[0] == tag and wanted.items() <= e[1].items()]

    def text(self, tag, **attributes):
        return self.all(tag, **attributes)[0][2]

    @property
    def data(self):
        return json.loads(self.text("script", id="data"))

    def section(self, name):
        return self.text("section", id=name)

    def rows(self, name):
        """Return the cells of every body row of a section's tables."""
        start = self.elements.index(self.all("section", id=name)[0])
        rows, current = [], None
        for tag, _, text in self.elements[start + 1 :]:
            if tag == "section":
                break
            if tag == "tr":
                current = []
                rows.append(current)
            elif tag == "td":
                current.append(text)
        return [row for row in rows if row]

    def notes(self):
        found = self.all("section", class_="notes")
        return found[0][2] if found else ""
