#!/bin/sh
# Installs the test counterparts that are missing, where this user may; says what stays missing otherwise.
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { [ -e "$1" ] || command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need Orthanc orthanc
need /usr/share/orthanc/plugins/libOrthancDicomWeb.so orthanc-dicomweb
need storescu dcmtk
need dciodvfy dicom3tools
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
need /usr/share/java/pixelmed.jar libpixelmed-java
need javac default-jdk-headless
need cc "gcc libc6-dev"
need "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" python3-dev
need node nodejs
need npm npm

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing test peers:$missing"
        apt-get update -qq
        # shellcheck disable=SC2086 -- a list of package names
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        echo "test peers missing:$missing (tests that need them are listed as not run; install them with: apt-get install$missing)"
    fi
fi

peer=tests/peers/fhir_r4_server
if command -v npm >/dev/null 2>&1 && [ ! -f "$peer/node_modules/.package-lock.json" ]; then
    (cd "$peer" && npm ci --no-audit --no-fund --silent) ||
        echo "the FHIR server's npm packages could not be installed; its tests are listed as not run"
fi
