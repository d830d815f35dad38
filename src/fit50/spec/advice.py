"""What the findings of an inspection advise: a pure function, a piece of advice for each figure that warrants one."""

from __future__ import annotations

from collections.abc import Iterator

from fit50.spec.inspection import Advice, InputFacts, Inspection

PAPER = "Zhao and Leong, Optimisation Solutions and Simple Innovative Solution Research on ResNet50 Model"
"""The source paper. Its limitations and techniques are named below; the thresholds are ours."""

_LOW_RESOLUTION = 64
"""Pixels of the shorter side: a 7x7 stem, which divides by 4, leaves the last stage at most 2 x 2 places."""
_TINY = 40
_FEW, _FEW_PER_CLASS = 1000, 100
_TRUSTED = 50
"""Per cent of the labels that a model must agree with before its suspicions say more of them than of itself."""
_HEAVY = 1.0
"""GMACs."""
_RESIZING = 2
_IMBALANCE = 3
_MEAN_OFF, _STD_OFF = 0.1, 1.5
"""A distance of means (of values from 0 to 1), and a ratio of standard deviations."""


def advise(found: Inspection) -> tuple[Advice, ...]:
    """The advice that the findings warrant: first what makes figures wrong, then what else would help.

    None comes without a figure; where nothing is warranted, there is none.
    """
    pieces = (_leaks, _disputed, _labels, _resolution, _few, _imbalance, _detail, _cost, _statistics, _grey)
    return tuple(advice for piece in pieces for advice in piece(found))


def _leaks(found: Inspection) -> Iterator[Advice]:
    leaking = [twin for twin in found.twins if twin.leaks]
    if not leaking and not found.shared_groups:
        return
    exact = sum(twin.exact for twin in leaking)
    kinds = {"exact copies": exact, "near-duplicates": len(leaking) - exact, "of shared groups": found.shared_groups}
    named = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items() if count)
    held_out = sum(found.totals.values()) - found.totals["train"]
    share = 100 * (len(leaking) + found.shared_groups) / held_out
    yield Advice(
        advice="do not trust figures on val and test until their images that are also in an earlier split are removed, "
        "or let fit50 make the splits (only class folders below the root)",
        evidence=f"{named}, of the {held_out:,} images of val and test; accuracy may be too high by {share:.1f} points",
        technique="splits without duplicates",
        source="not the paper's; Barz and Denzler 2020",
    )


def _disputed(found: Inspection) -> Iterator[Advice]:
    disputed = [twin for twin in found.twins if twin.disputed]
    if disputed:
        first = disputed[0]
        yield Advice(
            advice="look at the duplicates that are given two classes, and keep one of each",
            evidence=f"duplicates of another class: {len(disputed):,}, such as {first.names[1]} ({first.classes[1]}) "
            f"and {first.names[0]} ({first.classes[0]})",
            technique="cleaning of labels",
            source="not the paper's",
        )


def _labels(found: Inspection) -> Iterator[Advice]:
    if found.labels and found.labels.suspects and found.labels.agreement >= _TRUSTED:
        count, n = len(found.labels.suspects), found.labels.n
        yield Advice(
            advice="look at the suspected label errors first, before any model is chosen by these labels",
            evidence=f"{count:,} of {n:,} images of val and test ({100 * count / n:.1f} %); the model that suspects "
            f"them agrees with {found.labels.agreement:.1f} % of the labels",
            technique="confident learning",
            source="not the paper's; Northcutt et al. 2021",
        )


def _resolution(found: Inspection) -> Iterator[Advice]:
    side = min(found.median)
    if side < _LOW_RESOLUTION:
        stem, stride = ("low-resolution", 1) if side <= _TINY else ("light", 2)
        yield Advice(
            advice=f"from scratch, take a stem that keeps more of a small image: --network.stem {stem} "
            f"(for {(4 // stride) ** 2} times the multiplications)",
            evidence=f"median image {_by(found.median)}; the usual stem divides its sides by 4, this one by {stride}",
            technique="stem of stride 1 or 2",
            source="Zhao and Leong: poor on low-resolution images; lightweight architectural modifications",
        )


def _few(found: Inspection) -> Iterator[Advice]:
    train, classes = found.totals["train"], len(found.counts["train"])
    if train < _FEW or train < _FEW_PER_CLASS * classes:
        from_scratch = "augment strongly and drop out (fit50 train --recipe lowdata --network.head.dropout 0.5)"
        start = "fit50 train --start torchvision:resnet50.IMAGENET1K_V2 --recipe finetune"
        one = len(found.inputs) == 1  # trained weights are of one input
        yield Advice(
            advice=f"start from trained weights ({start}); or, from scratch, {from_scratch}" if one else from_scratch,
            evidence=f"{train:,} training images, {train / classes:,.0f} for each of {classes} classes",
            technique=f"{'transfer learning, ' if one else ''}dropout, data augmentation",
            source="Zhao and Leong: overfits small data; transfer learning, Dropout-ResNet50, data augmentation",
        )


def _imbalance(found: Inspection) -> Iterator[Advice]:
    if found.imbalance >= _IMBALANCE:
        train = found.counts["train"]
        yield Advice(
            advice="give rare classes their weight (--train.balance weights, or sampling), and judge by the balanced "
            "accuracy that fit50 evaluate prints",
            evidence=f"training images: {train[found.commonest]:,} of {found.commonest}, {train[found.rarest]:,} of "
            f"{found.rarest} ({found.imbalance:.1f} to 1)",
            technique="class weights, balanced sampling",
            source="not the paper's; Buda et al. 2018, Brodersen et al. 2010",
        )


def _detail(found: Inspection) -> Iterator[Advice]:
    first, side = found.inputs[0], min(found.median)
    if side > _RESIZING * min(first.height, first.width):
        larger = f"if classes differ in small things, try a larger input (--image-size {_larger(first, side)})"
        networks = ", or what keeps detail: --network fpn-resnet50, hff-gated or cbam-resnet50"
        yield Advice(
            advice=larger + (networks if len(found.inputs) == 1 else ""),
            evidence=f"median image {_by(found.median)}, {side / min(first.height, first.width):.1f} times the input's "
            f"{first.height} x {first.width}",
            technique="feature pyramid, hierarchical feature fusion, attention",
            source="Zhao and Leong: loses detail; FPN-ResNet50, HFF-SEnet, CBAM-ResNet50",
        )


def _cost(found: Inspection) -> Iterator[Advice]:
    if found.gmacs >= _HEAVY:
        sizes = " and ".join(f"{each.height} x {each.width}" for each in found.inputs)
        yield Advice(
            advice="for a device, prune and quantise under a budget: fit50 optimize --latency 5ms (or another)",
            evidence=f"{found.gmacs:.3g} GMACs for each prediction of {found.network} at {sizes}",
            technique="pruning, quantisation, distillation",
            source="Zhao and Leong: large computation and memory; pruning, quantisation, Distilled-ResNet50",
        )


def _statistics(found: Inspection) -> Iterator[Advice]:
    for index, each in enumerate(found.inputs):
        if not min(each.std):
            continue  # a channel of one value has no spread to divide by
        off = max(abs(own - taken) for own, taken in zip(each.mean, each.input_mean, strict=True))
        ratios = [own / taken for own, taken in zip(each.std, each.input_std, strict=True)]
        if off > _MEAN_OFF or max(ratios) > _STD_OFF or min(ratios) < 1 / _STD_OFF:
            yield Advice(
                advice="from scratch, normalise by your own statistics (trained weights keep theirs): "
                f"--network.inputs[{index}].mean '{_listed(each.mean)}' "
                f"--network.inputs[{index}].std '{_listed(each.std)}'",
                evidence=f"{each.name}: mean {_listed(each.mean)} where the input takes {_listed(each.input_mean)}, "
                f"standard deviation {_listed(each.std)} where it takes {_listed(each.input_std)}",
                technique="normalisation of the input",
                source="not the paper's; LeCun et al. 1998, Efficient BackProp",
            )


def _grey(found: Inspection) -> Iterator[Advice]:
    for index, each in enumerate(found.inputs):
        if each.grey and len(each.mean) == 3:
            field = f"--network.inputs[{index}]"
            std = f"{each.std[0]:.3f}" if each.std[0] else "1"
            yield Advice(
                advice="all is grey: from scratch one channel says as much as three "
                f"({field}.channels 1 {field}.mean '[{each.mean[0]:.3f}]' {field}.std '[{std}]'); changes of colour "
                "in augmentation change nothing",
                evidence=f"{each.name}: no colour in any of {each.sampled:,} training images",
                technique="input of one channel",
                source="not the paper's",
            )


def _larger(input: InputFacts, side: int) -> int:
    """The next usual input size, no larger than the images."""
    return min(next((size for size in (64, 128, 224, 320, 448) if size > min(input.height, input.width)), side), side)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"


def _listed(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:.3f}' for value in values)}]"
