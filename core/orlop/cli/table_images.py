"""A part of the table of the command line: what writes a container to images and brings it back."""

from __future__ import annotations

from orlop.cli.flags import LIST, SWITCH, Command, Flag

_ID = "<container-id>"

NO_SUBREAPER = Flag(
    ("no-subreaper",),
    "accepted for compatibility: orlop never makes itself a subreaper",
    kind=SWITCH,
    hidden=True,
)
"""Of all commands that start programs."""

_IMAGES = (
    Flag(("image-path",), "directory of the images (default: checkpoint)", metavar="DIR"),
    Flag(("work-path",), "directory of the log and the statistics (default: the images' own)", metavar="DIR"),
    *(
        Flag((name,), text, kind=SWITCH)
        for name, text in (
            ("tcp-established", "keep established TCP connections"),
            ("ext-unix-sk", "keep unix sockets with a peer outside the container"),
            ("shell-job", "keep a session or a terminal from outside the container"),
            ("lazy-pages", "leave the memory out, to be fetched when it is needed"),
            ("file-locks", "keep file locks"),
            ("auto-dedup", "take out of images what is not needed there any more"),
        )
    ),
    Flag(
        ("manage-cgroups-mode",),
        "settings of cgroups that are kept: none, of those that are made, all, or all into new ones",
        choices=("ignore", "soft", "full", "strict"),
        default="soft",
        metavar="MODE",
    ),
    Flag(("empty-ns",), "leave this namespace empty: network", kind=LIST, metavar="TYPE", filled=True),
)

IMAGES: tuple[Command, ...] = (
    Command(
        "checkpoint",
        "write the processes of a container to images, and end it",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            *_IMAGES,
            Flag(
                ("parent-path",), "images of an earlier pre-dump, relative to the image path", metavar="DIR"
            ),
            Flag(("leave-running",), "let the container run on", kind=SWITCH),
            Flag(("pre-dump",), "write the memory only, while the container runs on", kind=SWITCH),
            Flag(("tcp-skip-in-flight",), "leave out TCP connections that are being made", kind=SWITCH),
            Flag(("link-remap",), "keep open files that have no name any more", kind=SWITCH),
            Flag(
                ("status-fd",), "descriptor to write a zero byte to when memory can be fetched", metavar="N"
            ),
            Flag(("page-server",), "where the memory is sent to, or served at", metavar="ADDRESS:PORT"),
        ),
        text="The program criu on the PATH, 3.15 or later, does it. A container that is not left running is\n"
        "deleted.",
    ),
    Command(
        "restore",
        "bring a container back from images",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            Flag(("bundle", "b"), "directory of the bundle", default=".", metavar="DIR"),
            Flag(
                ("config", "f"), "config file, relative to the bundle", default="config.json", metavar="FILE"
            ),
            *_IMAGES,
            Flag(("tcp-close",), "restore TCP connections as closed ones", kind=SWITCH),
            Flag(("lsm-profile",), "security label instead of the config's", metavar="TYPE:NAME"),
            Flag(
                ("lsm-mount-context",), "SELinux context of mounts instead of the config's", metavar="CONTEXT"
            ),
            Flag(("console-socket",), "unix socket that receives the terminal's master", metavar="PATH"),
            Flag(("pid-file",), "file that receives the process id of the container process", metavar="FILE"),
            Flag(("detach", "d"), "return when the container runs", kind=SWITCH),
            NO_SUBREAPER,
            Flag(
                ("no-pivot",), "accepted for compatibility: criu switches the root", kind=SWITCH, hidden=True
            ),
        ),
        text="What the config of the bundle says counts: images that differ in what holds the container are\n"
        "refused. The exit status is as for 'orlop run'.",
    ),
)
"""The two commands."""
