//! What goes wrong with files, disks and pipes, and the exit code of each.
