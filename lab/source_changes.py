"""Small changes of Python source that a test should notice: mutants.

Each changes one place: a comparison, a sum, a number, a condition, a call that is left out. What
only people or type checkers read stays: words, annotations, decorators, imports. So do f-strings,
of whose parts Python 3.11 gives no places.
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# What an operator becomes, by its node in the syntax tree: the words to look for, and those to put.
_COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[str, str]]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
_ARITHMETIC: Final[Mapping[type[ast.operator], tuple[str, str]]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"),
    ast.Pow: (r"\*\*", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: (r"\|", "&"),
}
_NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_Conditional = ast.If | ast.While | ast.IfExp
_OWN_CHANGE: Final = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant, ast.NamedExpr)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One mutant: some bytes of a file, and what stands there instead."""

    path: str  # of the file in the checkout
    line: int  # from 1
    start: int  # in bytes of UTF-8
    stop: int
    before: str
    after: str
    within: str  # the line's text

    def applied(self, source: str) -> str:
        """The file's text with the change in it."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.stop :]).decode()

    @property
    def summary(self) -> str:
        """The change in a line."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{before} -> {after}"


def changes(path: str, source: str) -> list[Change]:
    """Every change of a module, in the order of its lines. SyntaxError if it is no Python."""
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return sorted(finder.found, key=lambda change: (change.start, change.stop, change.after))


def sample(every: Sequence[Change], count: int, seed: int) -> list[Change]:
    """So many of all changes, or all of them if there are fewer, in their order.

    Each has a lot by the seed and by its own line: when the source changes elsewhere, the sample
    stays as it was.
    """
    twins: Counter[tuple[str, ...]] = Counter()  # by what they are, of which a file may have more
    lots: list[bytes] = []
    for change in every:
        told = (change.path, change.within, change.before, change.after)
        twins[told] += 1
        lots.append(hashlib.sha256(repr((seed, told, twins[told])).encode()).digest())
    drawn = sorted(range(len(every)), key=lots.__getitem__)[:count]
    return [every[place] for place in sorted(drawn)]


class _Finder(ast.NodeVisitor):
    """Collects the changes of one module."""

    def __init__(self, path: str, source: str) -> None:
        self.path, self.data = path, source.encode()
        self.starts = [0]  # of the lines
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Change] = []
        self.in_function = False  # elsewhere | makes a type of two

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip(
            (node.left, *node.comparators), node.ops, node.comparators, strict=False
        ):
            self._between(left, right, _COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        is_type = isinstance(node.op, ast.BitOr) and not self.in_function
        is_text = any(map(_is_text, (node.left, node.right)))
        if type(node.op) in _ARITHMETIC and not (is_type or is_text):
            self._between(node.left, node.right, _ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in _ARITHMETIC and not _is_text(node.value):
            self._between(node.target, node.value, _ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, words)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._replace(node, self._text(node.operand))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int):
            self._replace(node, str(node.value + 1))
        elif isinstance(node.value, float):
            self._replace(node, repr(2 * node.value or 1.0))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in _NAMES:
            self._replace(node, _NAMES[node.id])

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in self._text(node.test):
            self._negate(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and self._text(node.value) != "None":
            self._replace(node.value, "None")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._replace(node, "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        outer, self.in_function = self.in_function, True
        for statement in node.body:
            self.visit(statement)
        self.in_function = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Left as it is."""

    def _negate(self, node: _Conditional) -> None:
        if not isinstance(node.test, _OWN_CHANGE):
            self._replace(node.test, f"not ({self._text(node.test)})")
        self.generic_visit(node)

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def _stop(self, node: ast.expr | ast.stmt) -> int:
        return self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def _text(self, node: ast.expr | ast.stmt) -> str:
        return self.data[self._start(node) : self._stop(node)].decode()

    def _replace(self, node: ast.expr | ast.stmt, after: str) -> None:
        self._add(self._start(node), self._stop(node), after)

    def _between(self, left: ast.expr, right: ast.expr, words: tuple[str, str]) -> None:
        """Change the operator between two operands; brackets and line ends may stand there too."""
        start = self._stop(left)
        between = self.data[start : self._start(right)].decode()
        if "#" not in between and (place := re.search(words[0], between)) is not None:
            begin = start + len(between[: place.start()].encode())
            self._add(begin, begin + len(place[0].encode()), words[1])

    def _add(self, start: int, stop: int, after: str) -> None:
        line = self.data.count(b"\n", 0, start) + 1
        before = self.data[start:stop].decode()
        within = self.data[self.starts[line - 1] : self.starts[line]].decode().strip()
        self.found.append(
            Change(
                path=self.path,
                line=line,
                start=start,
                stop=stop,
                before=before,
                after=after,
                within=within,
            )
        )


def _is_text(node: ast.expr) -> bool:
    """Whether an operand is text: another operator would fail wherever the line runs."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def every_change(sources: Mapping[str, str]) -> Iterator[Change]:
    """The changes of some modules, by their paths."""
    for path, source in sorted(sources.items()):
        yield from changes(path, source)
