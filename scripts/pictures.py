"""Draw the pictures of docs/concepts.md: small SVGs, from what the library itself computes.

    pip install -e '.[demo]' && python scripts/pictures.py

The spectra are of GloVe; the points of the other pictures are made from a seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dqindex import DQModel, DQTransform, ProductCodebooks
from dqindex._types import Float32, Float64
from dqindex.vectors.packaged import open_packaged

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
INK, FAINT = "#334155", "#cbd5e1"
BLUE, ORANGE, GREEN, VIOLET = "#2563eb", "#ea7317", "#15803d", "#7c3aed"
# Words of GloVe that the distortions are of.
SAMPLE = 50_000
COLOURS = (BLUE, ORANGE, GREEN, VIOLET)


def text(
    x: float, y: float, words: str, *, size: int = 13, fill: str = INK, at: str = "middle"
) -> str:
    """Words around, or from, a place."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
        f'text-anchor="{at}">{words}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str, opacity: float = 1.0) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" '
        f'fill="{fill}" fill-opacity="{opacity}"/>'
    )


def dot(x: float, y: float, *, radius: float, fill: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>'


def line(
    x: float, y: float, to_x: float, to_y: float, ink: str = INK, *, head: bool = False
) -> str:
    """A line, or an arrow."""
    end = ' marker-end="url(#head)"' if head else ""
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{ink}" '
        f'stroke-width="1.5"{end}/>'
    )


def save(name: str, width: int, height: int, title: str, parts: Iterable[str]) -> None:
    """One picture, on white, so that it can be read on a dark page too."""
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>'
    )
    drawn = "\n".join(parts)
    (FOLDER / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>{title}</title>\n{head}\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>\n{drawn}\n</svg>\n'
    )


def product() -> None:
    """A vector, its subvectors, their codebooks, the codes."""
    parts = []
    rng = np.random.default_rng(3)
    chosen = (37, 201, 5, 118)
    for place, (colour, code) in enumerate(zip(COLOURS, chosen, strict=True)):
        left = 40 + 165 * place
        for cell in range(4):
            shade = 0.25 + 0.7 * rng.random()
            parts.append(box(left + 32 * cell, 40, 28, 28, colour, shade))
        parts.append(line(left + 62, 74, left + 62, 96, head=True))
        for row in range(4):
            for cell in range(4):
                shade = 0.25 + 0.7 * rng.random() if row == 2 else 0.12
                parts.append(box(left + 32 * cell, 104 + 18 * row, 28, 14, colour, shade))
        parts.append(text(left + 62, 192, f"codebook {place + 1}", size=12))
        parts.append(line(left + 62, 200, left + 62, 222, head=True))
        parts.append(text(left + 62, 244, str(code), size=20, fill=colour))
    parts.append(text(40, 28, "a vector of 16 numbers, cut into 4 subvectors", at="start"))
    parts.append(
        text(40, 272, "its codes: 4 bytes, the numbers of the nearest codewords", at="start")
    )
    save("pq", 700, 286, "Product quantisation: each subvector gets its nearest codeword", parts)


def dependence(vectors: Float32) -> Float64:
    """Root mean square of the correlations between the axes of two groups, for all ten groups."""
    squares = np.corrcoef(vectors.T) ** 2
    found: Float64 = np.sqrt(squares.reshape(10, 5, 10, 5).mean(axis=(1, 3)))
    return found


def heat(left: float, title: str, found: Float64, note: str) -> list[str]:
    """A square for each pair of groups, darker where they depend on each other more."""
    parts = [text(left + 110, 28, title, size=15)]
    strongest = 0.3
    for row, column in np.ndindex(*found.shape):
        own = row == column
        shade = 1.0 if own else 0.04 + 0.96 * min(1.0, float(found[row, column]) / strongest)
        fill = FAINT if own else BLUE
        parts.append(box(left + 22 * column, 42 + 22 * row, 20, 20, fill, round(shade, 2)))
    return [*parts, text(left + 110, 284, note)]


def rotations() -> None:
    """How much groups of GloVe's axes depend on each other under PQ and DQ, and the distortion."""
    vectors = open_packaged("glove-50").read()[:SAMPLE]
    variance = float(vectors.var(axis=0, dtype=np.float64).sum())
    turned = DQTransform(10).fit(vectors).transform(vectors)
    parts: list[str] = []
    for left, title, shown in (
        (30, "PQ: the axes as they are", vectors),
        (300, "DQ: principal axes", turned),
    ):
        books = ProductCodebooks(10, 256, seed=0).fit(shown)
        error = float(((books.decode(books.encode(shown)) - shown) ** 2).sum(1).mean()) / variance
        parts += heat(left, title, dependence(shown), f"10 bytes lose {error:.1%} of the variance")
    parts.append(
        text(
            275,
            312,
            "correlation between ten groups of five axes: none is white, 0.3 is dark",
            size=12,
        )
    )
    save("rotation", 550, 326, "Groups of axes under PQ and under DQ", parts)


def spectrum() -> None:
    """The variance of each of ten groups of GloVe's axes, in three orders."""
    vectors = open_packaged("glove-50").read()
    transform = DQTransform(10).fit(vectors)
    raw = vectors.var(axis=0, dtype=np.float64)
    rows = (
        ("the axes as they are", raw.reshape(10, 5).sum(1)),
        ("principal axes, in order", np.sort(transform.variances_)[::-1].reshape(10, 5).sum(1)),
        ("principal axes, dealt out (DQ)", transform.subspace_variances_),
    )
    total = raw.sum()
    parts = [
        text(20, 26, "Share of GloVe’s variance in each of ten groups of five axes", at="start")
    ]
    for place, (words, variances) in enumerate(rows):
        left, shares = 20 + 225 * place, np.asarray(variances) / total
        for group, share in enumerate(shares):
            height = 700 * share
            parts.append(box(left + 20 * group, 190 - height, 16, height, COLOURS[place]))
        parts.append(line(left, 190, left + 198, 190))
        parts.append(text(left + 98, 210, words, size=12))
        parts.append(text(left + 98, 228, f"{shares.min():.1%} to {shares.max():.1%}", size=12))
    save("spectrum", 690, 242, "What dealing axes out does to a spectrum", parts)


def residual() -> None:
    """A point, its coarse centroid, and what a second level adds."""
    rng = np.random.default_rng(2)
    centres = np.array([(-1.3, 0.6), (0.1, -0.7), (1.3, 0.5), (0.0, 1.0)])
    noise = rng.normal(size=(240, 2)) * 0.28
    points = (centres[rng.integers(4, size=240)] + noise).astype(np.float32)
    model = DQModel.rq(2, 4, seed=0, polish=0, beam=1).fit(points)
    # One at the edge of its cluster, so that the second step is seen.
    chosen = points[int(np.argsort(points[:, 0])[-6])]

    def at(one: Float32) -> tuple[float, float]:
        return 225 + 95 * float(one[0]), 155 - 80 * float(one[1])

    first, second = model_steps(model, chosen)
    tokens = model.encode(chosen[None])[0]
    parts = [dot(*at(one), radius=1.6, fill=FAINT) for one in points]
    parts += [
        dot(*at(first), radius=5, fill=BLUE),
        dot(*at(second), radius=5, fill=ORANGE),
        line(*at(first), *at(second), head=True),
        dot(*at(chosen), radius=3.5, fill=INK),
        text(440, 90, f"level 1: the nearest centroid, token {tokens[0]}", fill=BLUE, at="start"),
        text(440, 116, f"level 2: what is left over, token {tokens[1]}", fill=ORANGE, at="start"),
        text(440, 142, "the vector itself", at="start"),
        text(440, 184, f"its ID: ({tokens[0]}, {tokens[1]})", size=15, at="start"),
    ]
    save("residual", 760, 280, "Residual levels: each token refines those before it", parts)


def model_steps(model: DQModel, vector: Float32) -> list[Float32]:
    """What the first token of a vector stands for, and what both do."""
    codes = model.encode(vector[None])
    whole = model.decode(codes)[0]
    coarse = model.coarse_[0][codes[0, 0]]
    return [np.asarray(coarse), whole]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for draw in (product, rotations, spectrum, residual):
        draw()
