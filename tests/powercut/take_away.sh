# Takes a rig of `volatile_disk.py` apart, whatever of it is there: file system, loop device, disk. $1 is its directory.
# Lazily, because nothing that lies on a disk without power must hold this up.
umount -l "$1/fs" 2>/dev/null
losetup --list --noheadings --output NAME,BACK-FILE | while read -r loop file rest; do
    [ "$file" = "$1/mnt/nbd" ] && losetup --detach "$loop" 2>/dev/null
done
# The process that serves the mount ends with it, and the plugin with that process.
fusermount3 -u -z "$1/mnt" 2>/dev/null
exit 0
