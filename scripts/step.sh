# Sourced by the scripts that run several commands. `step COMMAND...` runs one so that SIGTERM and Ctrl-C end it immediately;
# plain bash would wait for the command to finish, and a killed script would leave it behind.
set -m # a process group for each step, which does not ignore Ctrl-C
child=
end_step() { # SIGNAL EXIT_CODE
  trap - TERM INT
  if [ -n "$child" ]; then
    kill "-$1" -- "-$child" 2> /dev/null || true
    wait "$child" || true
  fi
  exit "$2"
}
trap 'end_step TERM 143' TERM
trap 'end_step INT 130' INT
step() {
  "$@" < /dev/null &
  child=$!
  local code=0
  wait "$child" || code=$?
  child=
  return "$code"
}

# summarise SWEEP: the tables, figures and report of a finished sweep, in train_log/SWEEP/, in place of older ones.
summarise() {
  local folder=train_log/$1
  rm -rf "$folder/tables.md" "$folder/figures" "$folder/report.html"
  step "$python" "$here/tables.py" "$folder" --output "$folder/tables.md"
  step "$python" "$here/plot.py" "$folder" --output "$folder/figures"
  step "$python" "$here/report.py" "$folder" --output "$folder/report.html"
  step "$python" "$here/tables.py" "$folder" --table figures
}
