#!/bin/sh
# install.sh WHEELS NAME [OPTIONS]: put our wheel NAME into $VIRTUAL_ENV with all that it needs, each package checked
# against the lock. Our own wheels are given as files, so that nothing of the same name on an index can take their place.
set -eu
index=$(/tools/bin/pip config get global.index-url 2>/dev/null || true)
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
wheels=$1 name=$2
shift 2
ours="$wheels"/ceric_datauploader_core-*.whl\ "$wheels"/ceric_datauploader_client-*.whl
[ "$name" != ceric_datauploader_sandbox ] || ours="$ours $wheels/ceric_datauploader_testing-*.whl"
exec /tools/bin/uv pip install --quiet -c /src/requirements.lock "$@" $ours "$wheels/$name"-*.whl
