"""Claims: predicates over numbers, such as "study.test.ae.mse.mean < 0.04 and not (abs(a.x) > 2 * a.y)".

A claim is parsed as Python and evaluated node by node. No part of a claim runs as code.
"""

import ast
import operator
import re
from collections.abc import Callable
from itertools import pairwise

KEY = re.compile(r"[A-Za-z]\w*\.[\w.]+")
_COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_SIGNS = {ast.USub: operator.neg, ast.UAdd: operator.pos}


class ClaimError(Exception):
    """The text is not a claim. The message quotes the part that is not allowed."""


def judge(claim: str, find: Callable[[str], object]) -> tuple[bool, list[tuple[str, float]]]:
    """Evaluate a claim.

    Args:
        claim: Comparisons (== != ~= < <= > >=) of keys and numbers with + - * / ( ) abs, joined by and, or, not.
        find: Function that returns the value of a key.

    Returns:
        Whether the claim holds, and [(key, value)] of the quoted numbers in their order.

    Raises:
        ClaimError: The text is not a claim, or the value of a key is not a number.
    """
    quoted = [(key, find(key)) for key in KEY.findall(claim)]
    for key, value in quoted:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ClaimError(f"{key} = {value}")
    bare = KEY.sub("", claim)
    for word in re.findall(r"[^\W\d]\w*", bare):
        if word not in ("and", "or", "not", "abs"):
            raise ClaimError(f'"{word}"')
    if odd := re.search(r"(?<![\w.])not\s*[^\s(]\S*|--", claim):  # people read `not a < b` in two ways
        raise ClaimError(f'"{odd.group()}"')
    numbered = iter(range(len(quoted)))
    code = KEY.sub(lambda _: f"_{next(numbered)}", claim).replace("~=", "!=")
    try:
        parsed = ast.parse(" ".join(code.split()), mode="eval").body
        holds = _truth(parsed, {f"_{place}": value for place, (_, value) in enumerate(quoted)})
    except (SyntaxError, ValueError, RecursionError, MemoryError, ArithmeticError) as error:
        raise ClaimError("a division by zero" if isinstance(error, ZeroDivisionError) else "something else") from error
    if not quoted:
        raise ClaimError("none of metrics.json or study.json")
    return holds, quoted


def _truth(node, values):
    if isinstance(node, ast.BoolOp):
        found = [_truth(part, values) for part in node.values]
        return all(found) if isinstance(node.op, ast.And) else any(found)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _truth(node.operand, values)
    if isinstance(node, ast.Compare) and all(type(sign) in _COMPARISONS for sign in node.ops):
        numbers = [_number(part, values) for part in (node.left, *node.comparators)]
        return all(_COMPARISONS[type(sign)](*pair) for sign, pair in zip(node.ops, pairwise(numbers)))
    raise ClaimError("something else")


def _number(node, values):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_number(node.left, values), _number(node.right, values))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_number(node.operand, values))
    is_abs = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs"
    if is_abs and len(node.args) == 1 and not node.keywords:
        return abs(_number(node.args[0], values))
    raise ClaimError("something else")
