"""/etc/audit/rules.d as augenrules joins it, and the edits of what freezes or silences the rules.

augenrules(8) prints its files one after another into awk: a file without a last newline runs into the next one.
Empty lines and comments go; of the lines that begin with -D, -b, -f the last of each comes first, in this order;
of those that begin with -e the last one comes last; the rest keeps its order. What comes out becomes audit.rules,
which auditctl loads; so that file is read by itself, too: what stands there now may be older, or hand-written.

Releases differ in what they take for a blank, in carriage returns and in names with blanks: `Joins`. A line that
acts under any of them is taken out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .audit_rules import Rule, parse, rest_of
from .host import File, Reader

FOLDER = "/etc/audit/rules.d"
AUGENRULES = ("/sbin/augenrules", "/usr/sbin/augenrules")
SLICE = 400  # characters of a line in one comment: auditctl reads the end of one that is too long as a line
SUFFIX = re.compile(rb"(?:\.[A-Za-z~][A-Za-z0-9~]*)*\Z")
SLOTS = ("D", "b", "f", "e")  # lines of which augenrules keeps the last
# a comment as releases up to 1.2 wrote it: its words act where augenrules glues it to the line before it
OLD = re.compile(r"# (fim-bootstrap \S+: FIM needs audit rules without this line): (?!['\"])(.*)", re.DOTALL)


class Joins(NamedTuple):
    """What differs between releases of augenrules, and of the awk that it runs."""

    blanks: bool = True  # awk knows \\s, so that lines may begin with blanks; for an older mawk it is the letter s
    returns: bool = False  # a carriage return at a line's end goes
    names: bool = False  # a file with a blank in its name is read


class Span(NamedTuple):
    """A part of a line of a file; from where to where in the file, in bytes."""

    path: str
    number: int
    start: int
    end: int


class Line(NamedTuple):
    """A line as auditctl gets it, and what of the files it is made of."""

    text: bytes
    spans: tuple[Span, ...]


class Judged(NamedTuple):
    """What auditctl makes of a line, and where the line stands."""

    rule: Rule
    spans: tuple[Span, ...]
    above: str = ""  # where the line stands that is the reason

    @property
    def place(self) -> str:
        """FILE:LINE; of every file, where the line runs through more than one."""
        return _place(self.spans)

    @property
    def why(self) -> str:
        """Why auditctl refuses the line, or why it does not act."""
        return " ".join(filter(None, (self.rule.inert or self.rule.aborts, self.above)))


class LeftOut(NamedTuple):
    """A line that augenrules leaves out for a later one of its kind."""

    line: Line
    winner: Line
    kind: str


class View(NamedTuple):
    """A text that auditctl may get, and what augenrules left out of it."""

    lines: tuple[Line, ...]
    left_out: tuple[LeftOut, ...] = ()


def joins_of(host: Reader) -> Joins:
    """How this host's own augenrules joins: its text and the awk tell."""
    script = next((path for path in AUGENRULES if host.stat(path)), "")
    awk = host.link("/etc/alternatives/awk") or host.link("/usr/bin/awk")
    returns, names = (bool(script) and host.holds(script, mark) for mark in (rb"sub(/\r$/", b"sort -zV"))
    return Joins("mawk" not in awk, returns, names)


def judged(files: Sequence[File], joins: Joins) -> tuple[Judged, ...]:
    """What auditctl does with rules.d as it is joined, and with audit.rules, unless that is the same."""
    *alone, last = _views(files, (joins,))
    text = b"".join(line.text for line in last.lines)
    views = [view for view in alone if _rules_of(view) != text]
    return tuple(found for view in (*views, last) for found in _judged(view.lines))


def blocking(files: Sequence[File], joins: Joins) -> tuple[Judged, ...]:
    """What freezes or silences the rules, under any release, in the order of the files."""
    own = {one.spans: one for view in _views(files, (joins,)) for one in _blocking(view)}
    elsewhere = {one.spans: Judged(one.rule._replace(inert="not in force with this host's augenrules"), one.spans)
                 for view in _views(files, _choices(files)) for one in _blocking(view)}  # fmt: skip
    return tuple(sorted({**elsewhere, **own}.values(), key=lambda one: [(_order(s.path), s.start) for s in one.spans]))


def overruled(files: Sequence[File], joins: Joins) -> tuple[Judged, ...]:
    """The -e lines of rules.d that would freeze the rules, if a later -e did not say otherwise."""
    left_out = [one for view in _views(files, (joins,)) for one in view.left_out if one.kind == "e"]
    return tuple(found for one in left_out for found in _left_out(one) if found.rule.locks)


def unblocked(files: Sequence[File], note: str) -> tuple[str, ...]:
    """The texts in which nothing freezes or silences the rules; such a line stays as a comment under a note.

    Dormant ones are taken out too: what keeps them harmless may be mended any day, or by the next release. Other
    options of the same line stay, on a line of their own.
    """
    texts = {file.path: _bytes(file.text) for file in files}
    while edits := _edits([file._replace(text=_text(texts[file.path])) for file in files], note):
        for span in sorted(edits, key=lambda span: span.start, reverse=True):
            data = texts[span.path]
            texts[span.path] = data[: span.start] + edits[span] + data[span.end :]
    # a character that a piece of a line ended in is whole again
    return tuple(_text(texts[file.path]) for file in files)


# ---------------------------------------------------------------------- joining


def _views(files: Sequence[File], choices: Iterable[Joins]) -> list[View]:
    """Every text that auditctl may get, each once; rules.d comes last."""
    alone = [View(tuple(_lines([file]))) for file in files if not _joined(file)]
    return [*alone, *dict.fromkeys(_join(files, joins) for joins in choices)]


def _choices(files: Sequence[File]) -> Iterator[Joins]:
    """The ways of joining that can make a difference for these files."""
    text = "\n".join(file.text for file in files)
    both = (True, False)
    blanks = both if re.search(r"(?m)^[ \t\v\f\rs]|-D[ \t\v\f\rs]+$", text) else (True,)
    returns = both if "\r" in text else (False,)
    names = both if any(re.search(r"\s", file.path) for file in files) else (False,)
    return (Joins(*choice) for choice in itertools.product(blanks, returns, names))


def _joined(file: File) -> bool:
    return file.path.startswith(f"{FOLDER}/")


def _join(files: Sequence[File], joins: Joins) -> View:
    """The files of rules.d as augenrules has them loaded."""
    read = [file for file in files if _joined(file) and (joins.names or not re.search(r"\s", file.path))]
    blank = rb"[ \t\n\v\f\r]*" if joins.blanks else b"s*"
    comment = re.compile(blank + b"#")
    slot = re.compile(blank + rb"-(?:([efb])|(D)" + blank + rb"\Z)")
    slots: Mapping[str, list[Line]] = {name: [] for name in SLOTS}
    rest: list[Line] = []
    for line, spans in _lines(sorted(read, key=lambda file: _order(file.path))):
        text = line.removesuffix(b"\n").removesuffix(b"\r" if joins.returns else b"")
        if text and not comment.match(text):
            kind = slot.match(text)
            (slots[_text(kind[1] or kind[2])] if kind else rest).append(Line(text + b"\n", spans))
    first = [line for name in SLOTS[:-1] for line in slots[name][-1:]]
    left_out = [LeftOut(line, lines[-1], name) for name, lines in slots.items() for line in lines[:-1]]
    return View((*first, *rest, *slots["e"][-1:]), tuple(left_out))


def _lines(files: Sequence[File]) -> Iterator[Line]:
    """The lines of the files, printed one after another."""
    text, spans = b"", list[Span]()
    for file in files:
        end = 0
        for number, part in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", _bytes(file.text)), 1):
            start, end = end, end + len(part)
            text += part
            if part != b"\n" or not spans:  # else it only ends what an earlier file began
                spans.append(Span(file.path, number, start, end))
            if part.endswith(b"\n"):
                yield Line(text, tuple(spans))
                text, spans = b"", []
    if text:
        yield Line(text, tuple(spans))


def _order(path: str) -> tuple[object, ...]:
    """Sorts paths as `ls -v` does: numbers by value, a name without its suffixes before the whole one."""
    name = _bytes(path)
    stem = name[: SUFFIX.search(name).start()]  # type: ignore[union-attr] # it matches the empty end, too
    return _version(stem), _version(name), name


def _version(name: bytes) -> tuple[tuple[tuple[int, ...], int], ...]:
    """filevercmp of gnulib as a key: text and number in turns; ~ before the end, letters before other characters."""
    parts = re.findall(rb"([^0-9]*)([0-9]*)", name)
    return tuple(((*map(_rank, text), -1), int(number or 0)) for text, number in parts)


def _rank(byte: int) -> int:
    return -2 if byte == ord("~") else byte if chr(byte).isascii() and chr(byte).isalpha() else byte + 256


# ---------------------------------------------------------------------- judging


def _rules_of(view: View) -> bytes:
    """A text without what augenrules strips."""
    return b"".join(line.text for line in view.lines if line.text.strip(b"\n") and not line.text.startswith(b"#"))


def _judged(lines: Sequence[Line]) -> list[Judged]:
    found, start, number = [], 0, 0
    for rule in parse(_text(b"".join(line.text for line in lines))):
        start = start if rule.number == number else 0
        end, number = start + len(_bytes(rule.text)), rule.number
        line = lines[number - 1]
        above = _place(lines[rule.above - 1].spans) if rule.above else ""
        found.append(Judged(_glued(rule, line), _part(line, start, end), above))
        start = end
    return found


def _glued(rule: Rule, line: Line) -> Rule:
    """What a line is if one newline more would wake what a file has of it."""
    if len(line.spans) < 2 or rule.blocks or not rule.aborts or not any(map(_blocks, _pieces(line))):
        return rule
    return rule._replace(inert=f"as one line, {rule.aborts}", dormant=True)


def _pieces(line: Line) -> Iterator[str]:
    """What each file has of a line."""
    at = 0
    for span in line.spans:
        start, at = at, at + span.end - span.start
        yield _text(line.text[start:at])


def _part(line: Line, start: int, end: int) -> tuple[Span, ...]:
    """The spans of a piece of a line; its end takes what augenrules stripped along."""
    spans, at = [], 0
    for span in line.spans:
        low = max(span.start, span.start + start - at)
        high = span.end if end >= len(line.text) else min(span.end, span.start + end - at)
        if low < high:
            spans.append(span._replace(start=low, end=high))
        at += span.end - span.start
    return tuple(spans)


def _blocking(view: View) -> list[Judged]:
    """What has to go: also what augenrules leaves out only because some other line has a -b or -f.

    A later -e decides for all that are above it: they go only if that one goes.
    """
    found = [one for one in _judged(view.lines) if one.rule.blocks]
    gone = {span for one in found for span in one.spans}
    woken = (one for one in view.left_out if one.kind != "e" or gone.intersection(one.winner.spans))
    return found + [line for one in woken for line in _left_out(one) if line.rule.blocks]


def _left_out(one: LeftOut) -> list[Judged]:
    why = "augenrules keeps only the last of its kind, from"
    rules = (_glued(rule, one.line)._replace(inert=why) for rule in parse(_text(one.line.text)))
    return [Judged(rule, one.line.spans, _place(one.winner.spans)) for rule in rules]


def _place(spans: Sequence[Span]) -> str:
    return " with ".join(f"{span.path}:{span.number}" for span in spans)


# ---------------------------------------------------------------------- editing


def _edits(files: Sequence[File], note: str) -> dict[Span, bytes]:
    """What comes in the place of what; a line is edited once, and the next round sees to the rest."""
    data = {file.path: _bytes(file.text) for file in files}
    edits: dict[Span, bytes] = {}
    for view in _views(files, _choices(files)):
        before = {(span.path, span.number) for span in edits}
        for rule, spans, _ in _blocking(view):
            if before.isdisjoint((span.path, span.number) for span in spans):
                pieces = [_text(data[span.path][span.start : span.end]) for span in spans]
                for span, new in zip(spans, _replaced(rule, pieces, note)):
                    cut = data[span.path][: span.start][-1:] not in (b"", b"\n")  # it begins within a line
                    edits[span] = b"\n" * cut + _bytes(new)
    return edits


def _replaced(rule: Rule, pieces: Sequence[str], note: str) -> list[str]:
    """What comes in the place of each piece of a line that runs through files.

    What else the line does is to stay as it is. Where auditctl refuses it anyway, it may as well refuse the last
    piece's comment glued to what stands before it; else the pieces become lines, if that comes to the same.
    """
    *before, last = pieces
    whole = rule.text.rstrip("\r\n") if rule.dormant else rule.text
    if not before:
        return [_comment(last, note) + _line(rest_of(whole))]
    comment, rests = _comment(last, note), [rest_of(piece.rstrip("\r\n")) for piece in pieces]
    if rule.aborts and not any(map(_blocks, (*before, "".join(before) + comment))):
        return [*before, comment + _line(rests[-1])]
    right = not any(one.aborts and not one.blocks for piece in pieces for one in parse(piece))
    if rule.aborts or (right and " ".join(filter(None, rests)) == rest_of(whole)):
        lines = [_comment(piece, note) + _line(rest) if _blocks(piece) else piece for piece, rest in zip(pieces, rests)]
        return [line if done.endswith("\n") else f"\n{line}" for done, line in zip(("\n", *lines), lines)]
    comments = [_comment(piece, note) for piece in pieces]
    return [comments[0] + _line(rest_of(whole)), *comments[1:]]


def _line(text: str) -> str:
    return text and f"{text}\n"


def _blocks(text: str) -> bool:
    return any(rule.blocks for rule in parse(text))


def _comment(piece: str, note: str) -> str:
    """A comment that says what stood there, and never acts, whatever it is glued to: no word begins with a hyphen.

    It ends in a newline, or it would swallow the next file's first line.
    """
    body = piece.rstrip("\r\n")
    end = piece[len(body) :].rstrip("\n") + "\n"
    if old := OLD.match(body):
        note, body = old[1], old[2]
    parts = [body[at : at + SLICE] for at in range(0, len(body), SLICE)]
    return "".join(f"# {note}: {' '.join(map(repr, filter(None, part.split(' '))))}{end}" for part in parts) or end


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
