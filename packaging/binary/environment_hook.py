"""PyInstaller runs this before the program: children never see what the bootloader put into the environment."""

import os

own = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
os.environ.pop("LD_LIBRARY_PATH", None)
if own:
    os.environ["LD_LIBRARY_PATH"] = own
for name in [name for name in os.environ if name.startswith(("_PYI_", "_MEI"))]:
    del os.environ[name]
