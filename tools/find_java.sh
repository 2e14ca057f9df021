#!/usr/bin/env bash
# Prints the JAVA_HOME of a Java that Spark 4 runs on (17 or 21): JAVA_HOME's own, else the PATH's, else an installed one.
# A Java that was passed over is named on standard error. None found: one sentence, exit 2.
# JVM_DIR names the folder where installed Javas are looked for.
set -u

# Prints "VERSION HOME" as the given java command tells it ("8", not "1.8"), or nothing if it does not run.
describe() {
  "$1" -XshowSettings:properties -version 2>&1 </dev/null | awk -F' = ' '
    $1 ~ /java\.home$/ { home = $2 }
    $1 ~ /java\.specification\.version$/ { version = $2; sub(/^1\./, "", version) }
    END { if (version != "" && home != "") print version, home }'
}

passed_over=""

# Prints the home and ends the search if the command is a fitting Java; $2 says where it was found.
try() {
  local version home
  read -r version home <<<"$(describe "$1")"
  case "$version" in
    17 | 21)
      [ -z "$passed_over" ] || echo "Note: $passed_over, Spark needs 17 or 21: using Java $version in $home." >&2
      echo "$home"
      exit 0
      ;;
    "") ;;
    *) passed_over="${passed_over:+$passed_over and }$2 is Java $version" ;;
  esac
}

[ -z "${JAVA_HOME:-}" ] || try "$JAVA_HOME/bin/java" "JAVA_HOME"
on_path=$(command -v java || true)
[ -z "$on_path" ] || try "$on_path" "java on the PATH"
for dir in "${JVM_DIR:-/usr/lib/jvm}"/*; do
  case "$dir" in
    *17* | *21*) [ ! -x "$dir/bin/java" ] || try "$dir/bin/java" "$dir" ;;
  esac
done

echo "Java 17 or 21 is needed and was not found${passed_over:+ ($passed_over)}: install it" \
  "(Debian or Ubuntu: apt-get install openjdk-17-jdk-headless) or set JAVA_HOME to one." >&2
exit 2
