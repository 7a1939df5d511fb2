"""Parts of the box's script, in a shell of their own."""

import re
import subprocess
from importlib import resources

SCRIPT = (resources.files("yocobench.aws") / "guest.sh").read_text(encoding="utf-8")


def test_an_upload_of_the_heartbeat_does_not_outlive_it(tmp_path):
    hush = re.search(r"^hush\(\).*?^}\n", SCRIPT, re.M | re.S)
    start = re.search(r"^(set -m.*\n)?beat &\n(.*\n)*?(?=fetch code)", SCRIPT, re.M)
    late = "beat() { sh -c 'sleep 0.5; echo old >log'; }\n"
    ends = "sleep 0.1; hush; echo last >log; sleep 0.8; cat log"
    assert hush is not None
    assert start is not None
    ran = subprocess.run(
        ["bash", "-uc", late + hush.group() + start.group() + ends], cwd=tmp_path, capture_output=True, check=True
    )
    assert ran.stdout == b"last\n"
