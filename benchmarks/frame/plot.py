"""A sheet that every plot is drawn on, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

INK = "#22272e"
# Of the palette of Okabe and Ito: apart for every eye, and in grey, too.
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
GREY = "#b8bec6"
DOTS_PER_INCH = 160


@contextmanager
def sheet(columns: int, *, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A sheet with so many plots side by side, and those.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
    """
    plt: Any = import_module("matplotlib.pyplot")
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    # The same figures give the same file.
    style = {"svg.hashsalt": "backroom", "svg.fonttype": "path", "font.size": 10, "text.color": INK}
    with matplotlib.rc_context(style):
        drawn, axes = plt.subplots(1, columns, figsize=(width, height), facecolor="white", layout="constrained")
        try:
            yield drawn, axes
        finally:
            plt.close(drawn)


def keep(drawn: Any, folder: Path, *, bench: str, caption: str) -> list[Path]:
    """Write a sheet as PNG and SVG, with a line below that says how it came about."""
    drawn.suptitle(caption, fontsize=9, color="#57606a", y=-0.03)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{bench}-benchmark.{kind}" for kind in ("png", "svg")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        drawn.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight", metadata=metadata)
    return paths
