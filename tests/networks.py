"""Networks of every kind that can be said, narrow and for small images."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fit50.spec.blocks import CBAM, ECA, SE, Basic, Block, Bottleneck, ReLU, Shortcut, Swish
from fit50.spec.network import FPN, HFF, Classifier, Fusion, Input, Network, Stage, Stem

WIDTHS = st.integers(4, 16)
RATES = st.sampled_from((0.0, 0.0, 0.3))
ACTIVATIONS: SearchStrategy[ReLU | Swish] = st.sampled_from(
    (ReLU(), Swish(), Swish(beta=2.0), Swish(start=64.0), Swish(learned=True))
)
ATTENTIONS: SearchStrategy[SE | CBAM | ECA | None] = st.sampled_from(
    (None, None, SE(reduction=4), SE(width=3), CBAM(width=2), CBAM(reduction=2, kernel=3), ECA(), ECA(kernel=5))
)
HFFS: SearchStrategy[HFF | None] = st.sampled_from(
    (None, None, HFF(form="paper"), HFF(form="squeeze"), HFF(form="gated"))
)


@st.composite
def networks(draw: DrawFn, most_inputs: int = 2) -> Network:
    """A network of one to three stages, for one or, if so many are allowed, for two images of 8 to 32 pixels."""
    stem = draw(stems())
    stages: list[Stage] = []
    names = [f"layer{index + 1}" for index in range(draw(st.integers(1, 3)))]
    inputs = draw(_inputs(draw(st.integers(1, most_inputs))))
    fusion = draw(_fusions(names)) if len(inputs) == 2 else None
    meeting = names.index(fusion.after or names[-1]) if fusion else 0
    width = stem.out
    for index, name in enumerate(names):
        stages.append(draw(_stages(name, width, 2 if index else 1)))
        width = stages[-1].out
        if fusion is not None and fusion.kind == "concat" and index == meeting:
            width = fusion.width
    return Network(
        inputs=inputs,
        stem=stem,
        stages=tuple(stages),
        activation=draw(ACTIVATIONS),
        neck=draw(_necks(names[meeting:])),
        fusion=fusion,
        head=Classifier(classes=draw(st.integers(2, 5)), dropout=draw(RATES)),
    )


@st.composite
def stems(draw: DrawFn) -> Stem:
    kind = draw(st.sampled_from(("7x7", "deep", "7x7+3x3x3", "light", "low-resolution")))
    inner = tuple(draw(WIDTHS) for _ in range({"deep": 2, "7x7+3x3x3": 3}.get(kind, 0)))
    ceil = kind not in ("light", "low-resolution") and draw(st.booleans())
    return Stem(kind=kind, out=draw(WIDTHS), inner=inner, ceil=ceil)


@st.composite
def blocks(draw: DrawFn, width: int, out: int, stride: int) -> Block:
    """A block that takes ``width`` channels and gives ``out``; its shortcut is the identity where that can be."""
    fits = width == out and stride == 1
    shortcuts: tuple[Shortcut, ...] = ("projection", "average-projection")
    shortcut = draw(st.sampled_from(("identity", "identity", *shortcuts) if fits else shortcuts))
    attention, activation = draw(ATTENTIONS), draw(st.none() | ACTIVATIONS)
    dropout, drop_path = draw(RATES), draw(RATES)
    if draw(st.booleans()):
        return Basic(
            inner=draw(WIDTHS),
            out=out,
            stride=stride,
            shortcut=shortcut,
            attention=attention,
            activation=activation,
            dropout=dropout,
            drop_path=drop_path,
        )
    groups = draw(st.sampled_from((1, 1, 2, 4)))
    first, second = (groups * draw(st.integers(1, 16 // groups)) for _ in range(2))
    return Bottleneck(
        inner=(first, second),
        out=out,
        stride=stride,
        stride_on=draw(st.sampled_from(("3x3", "1x1"))),
        groups=groups,
        separable=groups == 1 and draw(st.booleans()),
        shortcut=shortcut,
        attention=attention,
        activation=activation,
        dropout=dropout,
        drop_path=drop_path,
    )


@st.composite
def _stages(draw: DrawFn, name: str, width: int, stride: int) -> Stage:
    out = draw(st.just(width) | WIDTHS)
    first = draw(blocks(width, out, stride))
    rest = [draw(blocks(out, out, 1)) for _ in range(draw(st.integers(0, 1)))]
    return Stage(name=name, blocks=(first, *rest), fusion=draw(HFFS))


@st.composite
def _inputs(draw: DrawFn, count: int) -> tuple[Input, ...]:
    side = st.integers(8, 32)
    height, width = draw(side), draw(side)
    made = []
    for index in range(count):
        channels = draw(st.sampled_from((3, 3, 1)))
        statistics = {"mean": (0.5,) * channels, "std": (0.25,) * channels}
        made.append(Input(name=f"image{index}", channels=channels, height=height, width=width, **statistics))
    return tuple(made)


@st.composite
def _fusions(draw: DrawFn, names: list[str]) -> Fusion:
    backbone = draw(st.sampled_from(("shared", "separate")))
    return Fusion(
        kind=draw(st.sampled_from(("concat", "gated"))),
        after=draw(st.none() | st.sampled_from(names)),
        width=draw(WIDTHS),
        backbone=backbone,
        norm="shared" if backbone == "separate" else draw(st.sampled_from(("shared", "per-input"))),
        modality_dropout=draw(RATES),
    )


@st.composite
def _necks(draw: DrawFn, names: list[str]) -> FPN | None:
    if draw(st.booleans()):
        return None
    form = draw(st.sampled_from(("plain", "gated")))
    levels = draw(st.sets(st.sampled_from(names), min_size=1)) | ({names[-1]} if form == "plain" else set())
    return FPN(form=form, width=draw(WIDTHS), levels=tuple(sorted(levels)))
