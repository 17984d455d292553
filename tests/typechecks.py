"""Type checks of every call in the package, as `--jaxtyping-packages` asks for them, without their price.

jaxtyping opens a scope for axis names around every call, binds the arguments, and checks them twice, which took a third of the
time of all tests. Only a function with shapes in its annotations needs the scope, and none needs the second check.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import jaxtyping

AXES = jaxtyping.jaxtyped
"""jaxtyping's own decorator."""


def checked(decorated: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """Decorate what jaxtyping's import hook decorates: a function, a method, a property, or a dataclass's `__init__`."""
    if decorated is None:
        return lambda each: checked(each, typechecker=typechecker)
    if inspect.isclass(decorated):
        own = vars(decorated).get("__init__")
        if dataclasses.is_dataclass(decorated) and inspect.isfunction(own) and not hasattr(own, "__wrapped__"):
            decorated.__init__ = checked(own, typechecker=typechecker)
        return decorated
    if isinstance(decorated, classmethod | staticmethod):
        return type(decorated)(checked(decorated.__func__, typechecker=typechecker))
    if not inspect.isfunction(decorated) or inspect.isgeneratorfunction(decorated):
        return AXES(decorated, typechecker=typechecker)
    if not decorated.__annotations__:
        return decorated
    hints = {name: resolved(hint, decorated) for name, hint in decorated.__annotations__.items()}
    # A second function with the same code: typer and msgspec read the annotations of the first.
    same = types.FunctionType(
        decorated.__code__,
        decorated.__globals__,
        decorated.__name__,
        decorated.__defaults__,
        decorated.__closure__,
    )
    same.__kwdefaults__, same.__annotations__ = decorated.__kwdefaults__, hints
    same.__qualname__, same.__module__ = decorated.__qualname__, decorated.__module__
    result = typechecker(same)
    if any(has_axes(hint) for hint in hints.values()):
        result = AXES(result, typechecker=None)
    result.__annotations__, result.__doc__, result.__wrapped__ = (
        decorated.__annotations__,
        decorated.__doc__,
        decorated,
    )
    result.__dict__.update(decorated.__dict__)
    return result


def resolved(hint: Any, function: Callable[..., Any]) -> Any:
    """An annotation with its strings resolved; anything where one of them names what only type checkers import."""
    holder = types.SimpleNamespace(__annotations__={"hint": hint})
    try:
        return get_type_hints(holder, function.__globals__, include_extras=True)["hint"]
    except Exception:
        return Any


def has_axes(hint: Any) -> bool:
    """Whether an annotation has the shape of an array in it."""
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(has_axes(part) for part in get_args(hint))
