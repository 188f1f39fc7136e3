"""Ink in a picture: the paper without it, how dark it is, and its connected parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import label, regionprops
from skimage.morphology import reconstruction

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Ring = npt.NDArray[np.intp]
Box = tuple[int, int, int, int]
LEAST_CONTRAST = 0.1  # between ink and paper, of the paper's own brightness
NOISES = 8  # ink stands out from the paper by more than so many times its noise
OWN_PEAK = 0.45  # of a part's own darkest value; below it are shadows, smudges and soft edges
DRAINED = 0.7  # a dark place at the edge that is less deep than this, beside the deepest, is a line or a shadow
LEAST_SIZE = 0.035  # of the picture's shorter side; anything smaller is dust


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Connected ink: its number in the picture of parts, its box (top, left, bottom, right) and the ink in it.

    Parts of one `basin` are connected by faint ink.
    """

    number: int
    basin: int
    box: Box
    mass: float
    peak: float
    at_edge: bool

    def join(self, other: Part) -> Part:
        """Both, under this one's number."""
        (top, left, bottom, right), far = self.box, other.box
        box = (min(top, far[0]), min(left, far[1]), max(bottom, far[2]), max(right, far[3]))
        return replace(self, box=box, mass=self.mass + other.mass)

    @property
    def height(self) -> int:
        """In pixels."""
        return self.box[2] - self.box[0]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.box[3] - self.box[1]

    @property
    def size(self) -> int:
        """The longer side of the box in pixels."""
        return max(self.height, self.width)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """What is darker (or, of the negative, lighter) than the paper: the paper, the parts and where they are."""

    paper: Array
    labels: Labels
    parts: tuple[Part, ...]


def find_parts(surface: Array, noise: float, *, relative: bool) -> Layer:
    """Whatever is darker than the paper around it; `relative` measures by the paper's brightness."""
    paper = find_paper(surface)
    ink = measure_ink(paper, surface, relative=relative)
    floor = max(LEAST_CONTRAST, NOISES * noise)
    basins = label(ink > floor, connectivity=2)
    peaks = np.asarray(ndimage.maximum(ink, basins, np.arange(basins.max() + 1)), np.float32)
    labels = label((basins > 0) & (ink > OWN_PEAK * peaks[basins]), connectivity=2).astype(np.int32)
    return Layer(paper=paper, labels=labels, parts=tuple(_describe_parts(labels, basins, ink)))


def measure_ink(paper: Array, surface: Array, *, relative: bool) -> Array:
    """How much darker than the paper each pixel is, from 0 to 1."""
    scale = np.maximum(paper, 0.05) if relative else np.float32(1)
    return np.asarray((paper - surface) / scale, np.float32)


def find_paper(surface: Array) -> Array:
    """The surface with every dark place filled up to its lowest rim, from where it would drain to the picture's edge.

    A shadow, a desk or a ruled line reaches the edge and stays; ink does not, and a digit that the edge cuts is closed
    off first.
    """
    ring = _walk_edge(surface.shape)
    edge = surface.flat[ring]
    closed = ndimage.grey_closing(edge, len(edge) // 4, mode="wrap")
    paper = _fill(surface, ring, closed)
    deepest = float((paper - surface).max())
    dips, _ = ndimage.label(closed - edge > LEAST_CONTRAST / 4)
    depths = np.asarray(ndimage.maximum(closed - edge, dips, np.arange(dips.max() + 1)))
    drained = np.where((dips > 0) & (depths[dips] < DRAINED * deepest), edge, closed)
    return paper if np.array_equal(drained, closed) else _fill(surface, ring, drained)


def _describe_parts(labels: Labels, basins: Labels, ink: Array) -> list[Part]:
    """Every part that is large enough and no frame around others, in the order of their numbers."""
    parts = []
    for region in regionprops(labels, ink):
        top, left, bottom, right = region.bbox
        part = Part(
            number=region.label,
            basin=int(basins[tuple(region.coords[0])]),
            box=region.bbox,
            mass=float(region.image_intensity.sum()),
            peak=float(region.image_intensity.max()),
            at_edge=min(top, left) <= 1 or bottom >= labels.shape[0] - 1 or right >= labels.shape[1] - 1,
        )
        if part.size >= LEAST_SIZE * min(labels.shape):
            parts.append(part)
    return [part for part in parts if not _is_frame(part, parts)]


def _is_frame(part: Part, parts: list[Part]) -> bool:
    """Whether a part is a thin line around others."""
    thin = part.mass / part.peak < 0.15 * part.height * part.width
    return thin and any(contains(part.box, other.box) for other in parts if other is not part)


def contains(outer: Box, inner: Box) -> bool:
    """Whether a box lies within another."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def _fill(surface: Array, ring: Ring, edge: Array) -> Array:
    """The surface with every place filled up to where it would drain to the edge."""
    seed = np.ones_like(surface)
    seed.flat[ring] = edge
    return np.asarray(reconstruction(np.maximum(seed, surface), surface, method="erosion"), np.float32)


def _walk_edge(shape: tuple[int, ...]) -> Ring:
    """The flat places of the outermost pixels, once around."""
    places = np.arange(shape[0] * shape[1]).reshape(shape)
    return np.concatenate([places[0], places[1:, -1], places[-1, -2::-1], places[-2:0:-1, 0]])
