"""All verbs. Each imports what it needs when it runs: ``--help`` answers at once, and a device needs no torch."""

from __future__ import annotations

from cyclopts import App

from fit50.cli import deploying, fitting, growing, inspecting, judging, making, measuring, probing, training, using, zoo

app = App(
    name="fit50",
    help="Fits a ResNet-50 to your images and your device: a budget in, a measured and deployable file out.",
    help_format="plaintext",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # main says how to go on
)
for verb in (
    inspecting.inspect,
    fitting.optimize,
    training.train,
    growing.morph,
    making.prune,
    probing.probe,
    deploying.quantize,
    deploying.export,
    measuring.benchmark,
    judging.evaluate,
    judging.compare,
    using.predict,
    using.verify,
    zoo.zoo,
    fitting.report,
):
    app.command(verb)
