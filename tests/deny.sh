#!/usr/bin/env bash
# Licences, bans, sources and advisories. Takes cargo-deny from PATH, or builds the pinned one into .cache/tools.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tool=$(command -v cargo-deny || true)
if [ -z "$tool" ]; then
    tool=.cache/tools/bin/cargo-deny
    # Without optimisation: it is built far oftener than it has much to do.
    [ -x "$tool" ] || CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=.cache/tools/target \
        cargo install cargo-deny --debug --locked --version "$version" --root .cache/tools
    rm -rf .cache/tools/target
fi
"$tool" --workspace check bans licenses sources
fetched=$("$tool" --workspace check advisories 2>&1) && { echo "$fetched"; exit 0; }
if grep -qiE 'failed to (fetch|acquire|clone|open)|unable to|could not (connect|resolve)' <<<"$fetched"; then
    echo "advisories: the database cannot be reached, so they were not checked"
else
    echo "$fetched"
    exit 1
fi
