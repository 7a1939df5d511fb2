"""A command in this process, where what is tested is not that it is a process: seconds of imports less.

The same entry point, words, configuration and exit status as `python -m yocobench.<module>`. A bug is raised here.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import subprocess
import sys
from unittest import mock

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from yocobench import config


def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What `python -m yocobench.<module> <words>` returns and prints."""
    main, command = importlib.import_module(f"yocobench.{module}").main, [module, *words]
    out, err, status, before = io.StringIO(), io.StringIO(), 0, HydraConfig.instance().cfg
    try:
        with (
            mock.patch.object(sys, "argv", command),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            config.stage(main)()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = before
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())
