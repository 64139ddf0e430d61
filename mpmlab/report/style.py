"""How every picture looks: fonts, colours, the frame of an axis, and how it is written.

No data here. Colours are Okabe and Ito's, which people with any common colour vision tell apart;
lines differ in dash as well, so that a grey print can be read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8A8A8A"
PALE: Final = "#E6E6E6"

#: Line of each engine. Others take what is left, in order of appearance.
ENGINE_STYLE: Final[dict[str, dict[str, Any]]] = {
    "real": {"color": BLUE, "linestyle": "-"},
    "sim": {"color": VERMILLION, "linestyle": (0, (4, 1.5))},
    "httpd": {"color": GREEN, "linestyle": (0, (1, 1))},
}
_SPARE_STYLES: Final[tuple[dict[str, Any], ...]] = (
    {"color": PURPLE, "linestyle": "-."},
    {"color": ORANGE, "linestyle": "-"},
)
_DPI: Final = 130


def engine_style(engine: str) -> dict[str, Any]:
    """Colour and dash of an engine's line, as matplotlib keywords."""
    return ENGINE_STYLE.get(engine, _SPARE_STYLES[len(engine) % len(_SPARE_STYLES)])


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure that no window system and no global state knows of."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, x_label: str, y_label: str) -> None:
    """Labels with units, a quiet grid behind the data, no box."""
    axes.set_xlabel(x_label, fontsize=11)
    axes.set_ylabel(y_label, fontsize=11)
    axes.tick_params(labelsize=10, length=3)
    axes.grid(visible=True, color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def entitle(figure: Figure, title: str, subtitle: str) -> None:
    """What the picture shows (bold), and of which run (small, grey)."""
    figure.suptitle(title, x=0.012, ha="left", fontsize=13.5, fontweight="bold")
    figure.axes[0].set_title(subtitle, loc="left", fontsize=9.5, color="#555555", pad=8)


def write_png(figure: Figure, path: Path) -> Path:
    """Write the picture, atomically: a reader sees the old file or the whole new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(scratch, format="png", dpi=_DPI)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path
