# Sourced by the two commands in the README: creates .venv in the checkout and installs requirements.txt, once.
# PYTHON sets the interpreter (default: the first of python3, python3.12, python3.11 that is version 3.11 or 3.12).
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  sed -n -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
  exit 0
fi
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout"
venv=$checkout/.venv
base=
for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' 2>/dev/null; then
    base=$candidate
    break
  fi
done
if [ -z "$base" ]; then
  echo "error: no Python 3.11 or 3.12 found; set one with PYTHON=/path/to/python" >&2
  exit 2
fi
# Behind links, so that an active .venv, whose python3 is the first one, can be replaced.
base=$("$base" -c 'import os, sys; print(os.path.realpath(sys.executable))')
wanted=$("$base" -c 'import sys; print(sys.version)'; cat requirements.txt)
if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/installed.txt" 2>/dev/null)" != "$wanted" ]; then
  echo "Creating .venv and installing requirements.txt. This takes about two minutes; later calls reuse it."
  if [ -e "$venv" ] && [ ! -e "$venv/installed.txt" ]; then
    echo "error: $venv was not created by this script; move it elsewhere" >&2
    exit 2
  fi
  rm -rf "$venv"
  mkdir "$venv"
  echo incomplete > "$venv/installed.txt"
  "$base" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
  echo "$wanted" > "$venv/installed.txt"
  echo "Installed."
else
  echo "Using the existing .venv."
fi
export PATH=$venv/bin:$PATH
