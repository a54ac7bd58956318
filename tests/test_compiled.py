"""What is compiled is compiled, where it can be: a mistake in it must not pass for a machine without a compiler."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from ampel_dagster.instruments import avro_container, ztf
from ampel_dagster.storage import point_codec, point_replies


def test_with_a_compiler_all_is_compiled() -> None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("cc") is None or not header.is_file():
        pytest.skip("there is no C compiler here, or no header of Python's")
    assert avro_container.compiled()
    assert ztf.ztf_points is not None
    assert point_codec.point_rows is not None
    assert point_replies.point_rows is not None
