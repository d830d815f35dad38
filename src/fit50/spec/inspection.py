"""What ``inspect`` finds in a data set before any work is done with it, and what it advises."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from fit50.spec.value import Value


class Twin(Value):
    """An image that shows the same as another one, which comes first: in an earlier split, or earlier in its own.

    Attributes:
        names: of the other image and of this one.
        splits: of both.
        classes: of both.
        exact: whether they agree byte for byte; otherwise they only look alike.
    """

    names: tuple[str, str]
    splits: tuple[str, str]
    classes: tuple[str, str]
    exact: bool

    @property
    def leaks(self) -> bool:
        """Whether the two lie in different splits."""
        return self.splits[0] != self.splits[1]

    @property
    def disputed(self) -> bool:
        """Whether the two are given different classes."""
        return self.classes[0] != self.classes[1]


class InputFacts(Value):
    """The images of one input.

    Attributes:
        name: the input's.
        height, width: pixels to which the images are fitted.
        formats: of the files, such as JPEG and PNG, with how many there are.
        modes: what the files' pixels are, such as RGB, grey, palette, alpha and 16-bit grey, likewise.
        mean, std: of each channel of the fitted training images, all pixels together, on values scaled to 0..1.
        input_mean, input_std: what the network's input takes them for.
        sampled: of how many training images the statistics are.
        grey: whether none of these shows a colour.
    """

    name: str
    height: PositiveInt
    width: PositiveInt
    formats: dict[str, PositiveInt]
    modes: dict[str, PositiveInt]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    sampled: PositiveInt
    grey: bool


class Suspect(Value):
    """An image whose class is probably wrong, with the model's probabilities of the given and the suggested class."""

    name: str
    split: str
    given: str
    suggested: str
    given_probability: float
    suggested_probability: float


class Labels(Value):
    """Suspected label errors among the ``n`` images of val and test, the clearest first.

    ``agreement`` is the share of images, in percent, whose most probable class is the given one. ``model`` is who was
    asked; ``known`` says that it was trained with these splits, else nothing is known of what it was trained on.
    """

    model: str
    known: bool
    n: PositiveInt
    agreement: float
    suspects: tuple[Suspect, ...]


class Inspection(Value):
    """The findings.

    Attributes:
        data: what was inspected.
        counts: images by split and class.
        median, smallest, largest: (height, width) of the images before they are fitted, each side taken on its own; of
            two inputs, the first's.
        inputs: the images of each input.
        set_aside: (name, reason) of each file that is not used.
        twins: exact and near duplicates, each image once.
        shared_groups: images of val and test whose group is also in an earlier split, and that have no twin there.
        network: the network whose inputs the images are fitted to.
        gmacs: its billions of multiply-accumulates for one example.
        labels: where a model was asked.
    """

    data: str
    counts: dict[str, dict[str, NonNegativeInt]]
    median: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    inputs: tuple[InputFacts, ...] = Field(min_length=1)
    set_aside: tuple[tuple[str, str], ...] = ()
    twins: tuple[Twin, ...] = ()
    shared_groups: NonNegativeInt = 0
    network: str
    gmacs: NonNegativeFloat
    labels: Labels | None = None

    @property
    def totals(self) -> dict[str, int]:
        """Images by split."""
        return {split: sum(counts.values()) for split, counts in self.counts.items()}

    @property
    def rarest(self) -> str:
        """The class with the fewest training images."""
        return min(self.counts["train"], key=lambda name: self.counts["train"][name])

    @property
    def commonest(self) -> str:
        """The class with the most training images."""
        return max(self.counts["train"], key=lambda name: self.counts["train"][name])

    @property
    def imbalance(self) -> float:
        """Training images of the largest class for each one of the smallest."""
        train = self.counts["train"]
        return train[self.commonest] / train[self.rarest]


class Advice(Value):
    """One thing to do, and why.

    Attributes:
        advice: what to do, with the option that does it.
        evidence: the figures that warrant it.
        technique: its name in the field.
        source: who proposes it: the source paper's part that it answers, or that it is not the paper's.
    """

    advice: str
    evidence: str
    technique: str
    source: str
