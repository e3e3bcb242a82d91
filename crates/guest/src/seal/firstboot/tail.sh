
if [ -n "$failed" ]; then
    exit 1
fi
sync
mkdir -p -m 0755 "${mark%/*}"
: > "$mark"
