# Waits for the end of its input, which is the end of the tests, however they end. Then it takes apart what is left of the rig in
# the directory $1.
cat >/dev/null
# A server that outlived the tests still has files open there.
for process in /proc/[0-9]*; do
    ls -l "$process/fd" 2>/dev/null | grep -q -F -e "-> $1/fs/" && kill -KILL "${process#/proc/}"
done
sh "$(dirname "$0")/take_away.sh" "$1"
rm -rf --one-file-system "$1"
