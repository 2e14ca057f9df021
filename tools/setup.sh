#!/usr/bin/env bash
# The set-up of a clone: .venv with the pinned packages and Horovod, Delta's jars in build/jars, and the archive of Java's
# classes by which jobs start sooner.
# tools/setup.sh EXTRA...: the same, and the jars of what only some need: avro, kafka.
# Safe to call always: it does what is missing, one call at a time. The stamp .venv/.complete is written last and is
# all that is believed; a set-up that was killed has none, and the next call checks each part and completes it.
# Exit codes: 0 complete, 1 a step failed (build/setup.log says how), 2 the system lacks something.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=$venv/bin/python
jars=$root/build/jars
log=$root/build/setup.log
stamp=$venv/.complete
cd "$root"
# What the caller's own make, Python and pip settings say is not meant for the builds below.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_REQUIRE_HASHES

say() { echo "set-up: $*"; }

refuse() { # sentence: the system lacks something
  say "$*" >&2
  exit 2
}

# ---- pins -----------------------------------------------------------------------------------------------------------
pinned_packages() { sed -n 's/^\([A-Za-z0-9][^ #]*==[^ #]*\).*/\1/p' requirements.txt; }
pinned_builds() { sed -n 's/^#build: *//p' requirements.txt; }
pinned_jars() { sed -n 's/^#jar: *//p' requirements.txt; } # group artifact version sha256
extra_jars() { sed -n "s/^#jar+$1: *//p" requirements.txt; }

# ---- the stamp ------------------------------------------------------------------------------------------------------
fingerprint() {
  { cat requirements.txt tools/setup.sh tools/check_packages.py tools/archive_classes.py && "$python" -V && echo "$root"; } 2>/dev/null | sha256sum
}

jars_are_there() {
  local artifact version
  while read -r _ artifact version _; do
    [ -s "$jars/$artifact-$version.jar" ] || return 1
  done < <(pinned_jars)
}

is_complete() {
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ] && jars_are_there && tools/find_java.sh >/dev/null
}

write_stamp() {
  fingerprint >"$stamp.new"
  mv "$stamp.new" "$stamp"
}

# ---- what the system must have --------------------------------------------------------------------------------------
system_python() {
  local candidate
  for candidate in python3.11 python3; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

compiles_cpp17() {
  local source='#include <optional>
int main() { if constexpr (true) return std::optional<int>{0}.value(); }'
  "${CXX:-g++}" -std=c++17 -fsyntax-only -x c++ - <<<"$source" 2>/dev/null
}

# Prints what is missing, one a line: the Debian packages that bring it, then its name.
missing() {
  system_python >/dev/null || echo "python3.11 python3.11-venv:Python 3.11 with venv"
  tools/find_java.sh >/dev/null 2>&1 || echo "openjdk-17-jdk-headless:Java 17 or 21"
  compiles_cpp17 || echo "g++:a C++17 compiler"
  command -v make >/dev/null || echo "make:make"
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Closes the lock's descriptor, since a package may start a service that outlives the set-up.
apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -o DPkg::Lock::Timeout=600 update &&
    apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@"; } >>"$log" 2>&1 </dev/null 9>&-
}

require_system() {
  local found packages
  found=$(missing)
  if [ -n "$found" ] && can_apt; then
    read -ra packages <<<"$(cut -d: -f1 <<<"$found" | tr '\n' ' ')"
    step "apt-get install ${packages[*]}" apt_install "${packages[@]}" || true
    found=$(missing)
  fi
  [ -z "$found" ] || refuse "missing on this system: $(cut -d: -f2 <<<"$found" | paste -sd, | sed 's/,/, /g');" \
    "install it (Debian or Ubuntu: apt-get install $(cut -d: -f1 <<<"$found" | paste -sd' '))" \
    "and run the command again.$(java_passed_over)"
}

# Which Java was found instead, as find_java.sh says it.
java_passed_over() {
  tools/find_java.sh 2>&1 >/dev/null | sed -n 's/.*(\(.*is Java.*\)): install.*/ Found instead: \1./p'
}

# ---- steps ----------------------------------------------------------------------------------------------------------
step() { # name command...: prints the name, then the seconds
  local name=$1 started=$SECONDS
  shift
  printf 'set-up: %s ...' "$name"
  if "$@"; then
    echo " $((SECONDS - started)) s"
  else
    echo " failed after $((SECONDS - started)) s"
    return 1
  fi
}

fail() { # sentence: a step failed
  say "$1; the last lines of build/setup.log:" >&2
  tail -n 15 "$log" | cut -c1-300 >&2
  exit 1
}

pip_install() { "$python" -m pip install --no-input --disable-pip-version-check "$@" >>"$log" 2>&1; }

venv_is_sound() {
  grep -qsF "$venv" "$venv/bin/activate" &&
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null &&
    "$python" tools/check_packages.py pip >/dev/null 2>&1 &&
    "$python" -m pip --version >/dev/null 2>&1
}

make_venv() {
  rm -rf "$venv"
  "$(system_python)" -m venv "$venv" >>"$log" 2>&1
}

# All pins are in one file, so pip has nothing to resolve; "pip check" proves the list complete.
install_packages() {
  local pins
  mapfile -t pins < <(pinned_packages)
  "$python" tools/check_packages.py --forget "${pins[@]}" >>"$log" || true
  pip_install --no-deps -r requirements.txt &&
    "$python" tools/check_packages.py "${pins[@]}" >>"$log" &&
    "$python" -m pip check >>"$log" 2>&1
}

horovod_works() {
  "$python" tools/check_packages.py "$(pinned_builds)" >>"$log" &&
    (cd / && timeout 120 "$python" -c 'import horovod.tensorflow as hvd; hvd.init()') >>"$log" 2>&1
}

# The policy lets a CMake of today read the project files of Horovod's own libraries.
build_horovod() {
  local options=(HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_PYTORCH=1
    HOROVOD_WITHOUT_MXNET=1 CMAKE_POLICY_VERSION_MINIMUM=3.5)
  (
    export PATH="$venv/bin:$PATH" "${options[@]}"
    pip_install --no-build-isolation --no-deps --force-reinstall "$@" "$(pinned_builds)"
  )
}

# pip keeps the wheel it built, but one built against another TensorFlow does not load: then it is built anew.
install_horovod() {
  horovod_works && return
  "$python" tools/check_packages.py --forget "$(pinned_builds)" >>"$log" || true
  { build_horovod && horovod_works; } || { build_horovod --no-cache-dir && horovod_works; }
}

jar_is_sound() { # file sha256
  [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]
}

fetch_jar() { # group artifact version sha256
  local jar="$2-$3.jar" java_home
  jar_is_sound "$jars/$jar" "$4" && return
  java_home=$(tools/find_java.sh 2>/dev/null)
  rm -rf build/ivy "$jars/$jar"
  "$java_home/bin/java" -Divy.default.ivy.user.dir="$root/build/ivy" \
    -cp "$(echo "$venv"/lib/python3.11/site-packages/pyspark/jars/ivy-*.jar)" org.apache.ivy.Main \
    -settings tools/ivysettings.xml -cache build/ivy -dependency "$1" "$2" "$3" -notransitive -types jar \
    -retrieve "build/ivy/retrieved/[artifact]-[revision].[ext]" >>"$log" 2>&1 </dev/null || return 1
  jar_is_sound "build/ivy/retrieved/$jar" "$4" && mkdir -p "$jars" && mv "build/ivy/retrieved/$jar" "$jars/$jar"
}

fetch_jars() {
  local group artifact version sha256
  while read -r group artifact version sha256; do
    fetch_jar "$group" "$artifact" "$version" "$sha256" || return 1
  done < <(pinned_jars)
}

# What the archive of classes holds for: the packages, the jars and the very Java that it was made with.
archive_fingerprint() {
  env -u JAVA_TOOL_OPTIONS -u _JAVA_OPTIONS -u JDK_JAVA_OPTIONS "$(tools/find_java.sh 2>/dev/null)/bin/java" -version 2>&1
  fingerprint
}

# Its size comes first, or "none" where Java would make none, which is then not tried again.
archive_fits() {
  local size
  size=$(stat -c %s build/classes.jsa 2>/dev/null || echo none)
  [ -f build/classes.stamp ] && [ "$(cat build/classes.stamp)" = "$size
$(archive_fingerprint)" ]
}

archive_classes() {
  local size=none
  rm -f build/classes.jsa
  JAVA_HOME=$(tools/find_java.sh 2>/dev/null) PYTHONPATH=$root "$python" -m tools.archive_classes \
    build/classes.jsa >>"$log" 2>&1 </dev/null && size=$(stat -c %s build/classes.jsa)
  { echo "$size" && archive_fingerprint; } >build/classes.stamp
  [ "$size" != none ]
}

# Jobs run without it too, some seconds longer; who may only read the clone goes without.
ensure_archive() {
  archive_fits && return
  [ -w build ] || return 0
  take_lock
  archive_fits || step "archive of Java's classes" archive_classes || say "jobs will start later than they could"
}

# Jars that only some need, by the names of what needs them.
fetch_extras() {
  local extra group artifact version sha256
  for extra in "$@"; do
    [ -n "$(extra_jars "$extra")" ] || refuse "there is no extra '$extra'; see the lines '#jar+' in requirements.txt."
    while read -r group artifact version sha256; do
      jar_is_sound "$jars/$artifact-$version.jar" "$sha256" ||
        step "$artifact" fetch_jar "$group" "$artifact" "$version" "$sha256" || fail "$artifact could not be fetched"
    done < <(extra_jars "$extra")
  done
}

# ---- main -----------------------------------------------------------------------------------------------------------
take_lock() {
  exec 9>build/setup.lock
  flock -n 9 || { say "another set-up of this clone is at work, waiting for it" && flock 9; }
}

complete() {
  rm -f "$stamp"
  : >"$log"
  require_system
  tools/find_java.sh >/dev/null
  venv_is_sound || step "virtual environment" make_venv || fail "the virtual environment could not be made"
  step "packages (a gigabyte the first time)" install_packages || fail "the packages could not be installed"
  step "Horovod (compiled the first time, about three minutes)" install_horovod || fail "Horovod could not be built"
  step "Delta's jars" fetch_jars || fail "Delta's jars could not be fetched"
  write_stamp
  say "complete in $SECONDS s"
}

if is_complete 2>/dev/null; then
  tools/find_java.sh >/dev/null
else
  for tool in flock sha256sum; do
    command -v "$tool" >/dev/null || refuse "$tool is missing: use Linux with util-linux and coreutils installed."
  done
  mkdir -p build
  take_lock
  is_complete 2>/dev/null || complete
fi
ensure_archive
fetch_extras "$@"
