"""What the report may import."""

from __future__ import annotations

import subprocess
import sys


def test_the_report_needs_values_only():
    code = (
        "import sys, fit50.report.html, fit50.report.text\n"
        "heavy = {'torch', 'numpy', 'jinja2'} & set(sys.modules)\n"
        "floors = {name.split('.')[1] for name in sys.modules if name.startswith('fit50.')}\n"
        "assert not heavy and floors <= {'spec', 'report'}, (heavy, floors)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
