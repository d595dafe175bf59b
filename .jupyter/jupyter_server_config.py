"""
JupyterLab as the course shows it. What you have set up in a JupyterLab of your own stays as it is.

`make lab`, binder/start and .devcontainer/lab name this folder in JUPYTER_CONFIG_PATH.

    settings/overrides.json    no question about Jupyter news over the first minute; pages open as they are read
    custom/custom.css          pictures follow the theme, lines break between words, a widget without a kernel says so
"""

from pathlib import Path

HERE = Path(__file__).parent

c = get_config()  # noqa: F821  Jupyter defines it
c.LabApp.app_settings_dir = str(HERE / "settings")
c.LabApp.custom_css = True
c.ServerApp.tornado_settings = {"static_custom_path": [str(HERE / "custom")]}
