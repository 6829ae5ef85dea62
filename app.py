"""The WSGI entry point: ``flask --app app …`` and ``gunicorn app:app`` both find ``app`` here."""

import sys

from fieldapp import create_app
from fieldapp.config import BadSetting

try:
    app = create_app()
except BadSetting as error:
    sys.exit(f"fieldapp cannot start: {error}")
