"""Network file systems are warned of by name: the log needs memory that all its users share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.helpers import in_process
from tests.programs import disks

NAMES = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9P",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x5346414F: "AFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
}
"""What statfs(2) says of network file systems."""

LOCAL = {0xEF53: "ext4", 0x58465342: "XFS", 0x9123683E: "Btrfs", 0x01021994: "tmpfs"}


def test_network_file_systems_are_warned_of_by_name_and_no_others(
    path: Path, fault: Callable[[str], None], figure: Callable[[str], None]
) -> None:
    for magic, name in NAMES.items():
        fault(f"statfs {magic:x}")
        [[kind, message]] = in_process(disks.open_and_count_warnings, str(path))
        assert kind == "NetworkFileSystemWarning"
        assert str(path) in message
        assert name in message
        path.unlink()
    assert in_process(disks.open_with_warnings_for_errors, str(path.parent / "new" / path.name)) == kind
    assert not (path.parent / "new").exists()
    for magic in LOCAL:
        fault(f"statfs {magic:x}")
        assert in_process(disks.open_and_count_warnings, str(path)) == []
        path.unlink()
    figure(f"{', '.join(NAMES.values())} warned of; {', '.join(LOCAL.values())} not")
