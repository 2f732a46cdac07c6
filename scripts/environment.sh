# Sourced by the two commands of the README: makes .venv in the checkout and installs requirements.txt, once.
# PYTHON names another interpreter than python3.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout"
venv=$checkout/.venv
base=${PYTHON:-python3}
if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "error: $base is not Python 3.11 or later; name one with PYTHON=/path/to/python" >&2
  exit 2
fi
wanted=$("$base" -c 'import sys; print(sys.version)'; cat requirements.txt)
if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/installed.txt" 2>/dev/null)" != "$wanted" ]; then
  echo "Making .venv and installing requirements.txt: about two minutes, once; a later call reuses it."
  rm -rf "$venv"
  "$base" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
  echo "$wanted" > "$venv/installed.txt"
  echo "Installed."
else
  echo "Using .venv, installed before."
fi
export PATH=$venv/bin:$PATH
