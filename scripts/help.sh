# Sourced first by the other scripts: --help prints the comment at the top of the script and exits.
for word in "$@"; do
  case $word in
    -h | --help)
      sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
      exit 0 ;;
  esac
done
