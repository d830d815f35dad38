"""What a training is: one frozen value, from the optimizer to the teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from fit50.spec.blocks import Rate
from fit50.spec.value import Value


class SGD(Value):
    """Stochastic gradient descent; no decay on norms and biases."""

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: Rate = 0.9
    nesterov: bool = True
    weight_decay: NonNegativeFloat = 5e-4


class AdamW(Value):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); no decay on norms and biases."""

    kind: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.05


class LAMB(Value):
    """Layer-wise adaptive moments for large batches (You et al. 2020), timm's; no decay on norms and biases."""

    kind: Literal["lamb"] = "lamb"
    lr: PositiveFloat = 5e-3
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.02


Optimizer = Annotated[SGD | AdamW | LAMB, Field(discriminator="kind")]


class Cosine(Value):
    """After the warm-up, half a cosine down to the fraction ``final`` of the rate (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    final: Rate = 0.0


class Steps(Value):
    """After the warm-up, the rate is multiplied by ``factor`` at each of these fractions of the training."""

    kind: Literal["steps"] = "steps"
    at: tuple[Rate, ...] = (1 / 3, 2 / 3)
    factor: float = Field(0.1, gt=0, lt=1)


Schedule = Annotated[Cosine | Steps, Field(discriminator="kind")]


class RandAugment(Value):
    """``ops`` operations for each image, drawn from 14, all at ``magnitude`` of 0..10 (Cubuk et al. 2020)."""

    kind: Literal["randaugment"] = "randaugment"
    ops: PositiveInt = 2
    magnitude: float = Field(9.0, ge=0, le=10)
    spread: NonNegativeFloat = 0.0


class TrivialAugment(Value):
    """One operation for each image, at a magnitude drawn from all of its wide range (Müller and Hutter 2021)."""

    kind: Literal["trivialaugment"] = "trivialaugment"


Policy = Annotated[RandAugment | TrivialAugment, Field(discriminator="kind")]
Area = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]


class Augment(Value):
    """What happens to each training image, drawn per sample; several inputs of a sample share their geometry.

    Attributes:
        flip: the chance of a mirror image.
        shift: the largest move in pixels in each direction; the border is repeated.
        crop: random resized crop (Szegedy et al. 2015): the range of the area that is kept; its sides' ratio is from
            3/4 to 4/3. None for no crop.
        policy: a random choice of operations on shape and colour.
        erase: the side of a square that is filled with the mean colour (Cutout, DeVries and Taylor 2017).
        erasing: the chance that a rectangle of 2 to 33 % of the image is filled with the mean colour (Zhong et al.
            2020).
        mixup: alpha of the Beta distribution by which two images are blended (Zhang et al. 2018); 0 for none.
        cutmix: alpha for pasting a rectangle of another image (Yun et al. 2019); with both, each pair draws one.
        mixing: the share of image pairs that are mixed at all.
    """

    flip: float = Field(0.5, ge=0, le=1)
    shift: NonNegativeInt = 0
    crop: Area | None = None
    policy: Policy | None = None
    erase: NonNegativeInt = 0
    erasing: float = Field(0.0, ge=0, le=1)
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    mixing: float = Field(1.0, ge=0, le=1)

    @property
    def draws(self) -> bool:
        """Whether anything is random, so that an image differs from one epoch to the next."""
        geometry = self.flip or self.shift or self.crop or self.policy
        return bool(geometry or self.erase or self.erasing or self.mixes)

    @property
    def mixes(self) -> bool:
        """Whether images are blended or cut with others."""
        return bool((self.mixup or self.cutmix) and self.mixing)

    @model_validator(mode="after")
    def _crop_rises(self) -> Augment:
        if self.crop and self.crop[0] > self.crop[1]:
            raise ValueError(f"crop: expected the smaller area first, found {list(self.crop)}")
        return self


class KD(Value):
    """T^2 * KL(teacher || student) of softened answers (Hinton et al. 2015).

    ``standardize`` takes z-scores of both logits first (logit standardisation, Sun et al. 2024).
    """

    kind: Literal["kd"] = "kd"
    standardize: bool = False


class DKD(Value):
    """Decoupled distillation (Zhao et al. 2022): alpha * target-class part + beta * non-target part, times T^2."""

    kind: Literal["dkd"] = "dkd"
    alpha: NonNegativeFloat = 1.0
    beta: NonNegativeFloat = 8.0


class DIST(Value):
    """beta * inter-class + gamma * intra-class correlation loss, times T^2 (Huang et al. 2022)."""

    kind: Literal["dist"] = "dist"
    beta: NonNegativeFloat = 1.0
    gamma: NonNegativeFloat = 1.0


Method = Annotated[KD | DKD | DIST, Field(discriminator="kind")]


class Hint(Value):
    """The squared distance of the stages' maps, through a learned 1x1 where widths differ (FitNets, Romero 2015)."""

    kind: Literal["hint"] = "hint"
    weight: PositiveFloat = 1.0
    stages: tuple[str, ...] = ()


class AttentionTransfer(Value):
    """The distance of the stages' normalised maps of squared activations (Zagoruyko and Komodakis 2017)."""

    kind: Literal["attention"] = "attention"
    weight: PositiveFloat = 1000.0
    stages: tuple[str, ...] = ()


Features = Annotated[Hint | AttentionTransfer, Field(discriminator="kind")]


class Answers(Value):
    """A trained network in a file or behind a name (``timm:...``), and the digest of its content."""

    weights: str
    sha256: str | None = None


class Teacher(Value):
    """Knowledge distillation: ``weight`` of the teacher's loss beside 1 - ``weight`` of the labels'.

    The teacher is the checkpoint ``after`` so many steps of the same recipe, or the file ``weights`` (fit50's, timm's,
    or ONNX); ``others`` are averaged with it. It is shown the same augmented images as the student.

    Attributes:
        temperature: by which logits are divided before the softmax.
        method: the loss between the answers.
        features: a loss between inner maps besides; its stages by their names in both networks, ``layer3``, or in the
            student and in the teacher, ``layer3:stages.2``.
    """

    after: PositiveInt | None = None
    weights: str | None = None
    sha256: str | None = None
    others: tuple[Answers, ...] = ()
    temperature: PositiveFloat = 4.0
    weight: float = Field(0.4, gt=0, le=1)
    method: Method = KD()
    features: Features | None = None

    @property
    def files(self) -> tuple[Answers, ...]:
        """All teachers but the one of the same recipe."""
        own = () if self.weights is None else (Answers(weights=self.weights, sha256=self.sha256),)
        return own + self.others

    @model_validator(mode="after")
    def _is_one_teacher(self) -> Teacher:
        if (self.after is None) == (self.weights is None):
            raise ValueError("teacher: expected either after=<number of steps> or weights=<file>")
        if self.features and self.others:
            raise ValueError("teacher.features: expected one teacher, whose maps are matched, found several")
        return self


class Train(Value):
    """Training for ``epochs``; the rate rises linearly for a fraction ``warmup`` of them, then follows ``schedule``.

    Attributes:
        batch: images in a step, over all devices.
        repeats: how often a batch shows each of its images, in different views (repeated augmentation, Hoffer et al.
            2020); an epoch then goes through a part of the images.
        accumulate: pieces in which a batch goes through the network; more where memory runs out.
        stage_decay: the rate of each stage is this times the next one's, the stem's lowest (discriminative rates,
            Howard and Ruder 2018); none for one rate.
        frozen: the fraction of the training, at its beginning, in which only the classifier learns.
        loss: ``bce`` takes each class as a yes or no of its own (Wightman et al. 2021).
        ema: decay of the averaged weights, which are the ones kept; none for the last weights.
        clip: the largest norm of the gradient; none for no limit.
        sam: rho of sharpness-aware minimisation (Foret et al. 2021), which takes two passes a step; none for none.
        drop_path: stochastic depth for this training, rising linearly to this rate at the last block (Huang et al.
            2016); none for what the network says.
        balance: of classes: by ``weights`` in the loss, or by ``sampling`` rare ones more often.
        size: pixels of the training images' sides; by default the input's. Smaller trains faster and makes up for
            crops' larger objects (Touvron et al. 2019).
        start_size: pixels at the beginning, growing to ``size`` in steps over the first two thirds (progressive
            resizing); none for one size.
        precision: ``auto`` is bf16 where the device computes in it natively, else float32.
        compile: torch.compile's mode.
        anneal: the fraction of the training in which a Swish with a ``start`` reaches its beta.
    """

    kind: Literal["train"] = "train"
    epochs: PositiveInt = 30
    batch: int = Field(64, ge=2)
    repeats: PositiveInt = 1
    accumulate: PositiveInt = 1
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    warmup: Rate = 0.15
    stage_decay: float | None = Field(None, gt=0, le=1)
    frozen: float = Field(0.0, ge=0, le=1)
    loss: Literal["cross-entropy", "bce"] = "cross-entropy"
    label_smoothing: Rate = 0.1
    ema: Rate | None = 0.99
    clip: PositiveFloat | None = 1.0
    sam: PositiveFloat | None = None
    drop_path: Rate | None = None
    augment: Augment = Augment()
    balance: Literal["none", "weights", "sampling"] = "none"
    size: PositiveInt | None = None
    start_size: PositiveInt | None = None
    precision: Literal["auto", "float32", "bf16"] = "auto"
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = "none"
    teacher: Teacher | None = None
    anneal: float = Field(0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _sizes_and_pieces_fit(self) -> Train:
        if self.size and self.start_size and self.start_size > self.size:
            raise ValueError(
                f"start_size: expected at most size={self.size}, to which it grows, found {self.start_size}"
            )
        if 2 * self.accumulate > self.batch:
            raise ValueError(
                f"accumulate: expected pieces of at least 2 images, found {self.accumulate} pieces of a batch of "
                f"{self.batch}"
            )
        return self
