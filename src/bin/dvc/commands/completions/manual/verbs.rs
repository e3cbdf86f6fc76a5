//! The hand-written part of each command's manual page: document sections, exit codes, files,
//! related pages.

/// The documents that the pages quote.
pub(super) const CARE: &str = include_str!("../../../../../../docs/care.md");
pub(super) const CLI: &str = include_str!("../../../../../../docs/cli.md");
pub(super) const DOCKER: &str = include_str!("../../../../../../docs/docker.md");
pub(super) const ERRORS: &str = include_str!("../../../../../../docs/errors.md");
pub(super) const EXPORT: &str = include_str!("../../../../../../docs/export.md");
pub(super) const HOOKS: &str = include_str!("../../../../../../docs/hooks.md");
pub(super) const JSON: &str = include_str!("../../../../../../docs/json.md");
pub(super) const MOUNT: &str = include_str!("../../../../../../docs/mount.md");
pub(super) const QUIESCE: &str = include_str!("../../../../../../docs/quiesce.md");
pub(super) const REMOTES: &str = include_str!("../../../../../../docs/remotes.md");
pub(super) const SIDECAR: &str = include_str!("../../../../../../docs/sidecar.md");

/// A name and its description.
pub(super) type Fact = (&'static str, &'static str);

/// Hand-written additions to the manual page of one command.
pub(super) struct VerbFacts {
    /// The command, such as `remote check`.
    pub(super) verb: &'static str,
    /// Documents and headings of the sections for the description. An empty heading selects the
    /// complete document.
    pub(super) text: &'static [(&'static str, &'static str)],
    /// Exit codes with a special meaning for this command.
    pub(super) exit: &'static [Fact],
    pub(super) environment: &'static [Fact],
    pub(super) files: &'static [Fact],
    pub(super) see: &'static [&'static str],
}

const PLAIN: VerbFacts = VerbFacts {
    verb: "",
    text: &[],
    exit: &[],
    environment: &[],
    files: &[],
    see: &[],
};

const CHANGED: Fact = ("1", "There are changes and `--exit-code` was given.");
const NOT_ALL: Fact = (
    "3",
    "Done, but some paths could not be read or changed while they were read; each was reported.",
);

/// The additions by command. The pages of all other commands have only generated sections.
const VERBS: &[VerbFacts] = &[
    VerbFacts {
        verb: "branch",
        see: &["dvc-tag(1)", "dvc-undo(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "checkout",
        exit: &[("11", "A process uses the target; `--force` ignores that.")],
        see: &["dvc-status(1)", "dvc-mount(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "clone",
        text: &[(REMOTES, "clone"), (REMOTES, "Lazy clones")],
        see: &["dvc-fetch(1)", "dvc-remote(1)", "dvc-remotes(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "commit",
        text: &[(CLI, "Content of a commit")],
        exit: &[
            ("0", "Done, or there is nothing to commit."),
            NOT_ALL,
            ("7", "A hook or a step of `--quiesce` failed."),
        ],
        environment: &[
            ("DVC_AUTHOR", "The author, `Name <email>`."),
            (
                "DVC_QUIESCE_PASSWORD",
                "The password for databases that `--quiesce` connects to.",
            ),
        ],
        files: &[
            (
                ".dvcsignore",
                "Patterns of paths that no commit includes, in the grammar of gitignore, in any directory.",
            ),
            (
                ".dvcs/hooks/",
                "Programs that run before and after a commit.",
            ),
        ],
        see: &["dvc-push(1)", "dvc-hooks(7)", "dvc-quiesce(7)"],
    },
    VerbFacts {
        verb: "completions",
        see: &["bash(1)", "zsh(1)", "fish(1)", "man(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "config",
        see: &["dvc-config(5)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "diff",
        exit: &[CHANGED],
        see: &["dvc-log(1)", "dvc-status(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "doctor",
        text: &[(CLI, "Diagnosis: `dvc doctor`")],
        exit: &[("1", "A check reports `no`.")],
        files: &[("/dev/fuse", "The device that mounts need.")],
        see: &["dvc-fsck(1)", "fusermount3(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "du",
        see: &["dvc-gc(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "export",
        text: &[(EXPORT, "")],
        see: &["dvc-import(1)", "tar(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "fetch",
        text: &[(REMOTES, "fetch and pull")],
        see: &["dvc-pull(1)", "dvc-push(1)", "dvc-remotes(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "fsck",
        text: &[(CARE, "Repair")],
        exit: &[(
            "5",
            "Damage was found, and `--repair` did not repair all of it.",
        )],
        see: &["dvc-doctor(1)", "dvc-errors(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "gc",
        see: &["dvc-du(1)", "dvc-trash(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "import",
        text: &[(EXPORT, "Archives that `import` accepts")],
        see: &["dvc-export(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "init",
        text: &[(CLI, "Access to a repository")],
        files: &[(".dvcs/", "The new repository.")],
        see: &["dvc-clone(1)", "dvc-commit(1)", "dvc-config(5)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "log",
        see: &["dvc-show(1)", "dvc-diff(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "ls",
        see: &["dvc-show(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "mount",
        text: &[(MOUNT, "")],
        environment: &[("DVC_RUN_DIR", "The directory of the sockets of mounts.")],
        files: &[
            (
                "/sbin/mount.dvc",
                "Lets mount(8), fstab(5) and systemd mount versions.",
            ),
            (".dvcs/overlays/", "Uncommitted changes of mounts."),
        ],
        see: &[
            "dvc-umount(1)",
            "dvc-volume(1)",
            "mount.dvc(8)",
            "dvc-revisions(7)",
            "fusermount3(1)",
        ],
        ..PLAIN
    },
    VerbFacts {
        verb: "pack",
        text: &[(SIDECAR, "")],
        files: &[
            ("/source", "The volumes."),
            ("/var/lib/dvc/data", "The repository."),
        ],
        see: &["dvc-unpack(1)", "dvc-commit(1)", "dvc-push(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "pull",
        text: &[(REMOTES, "fetch and pull")],
        exit: &[("4", "The branches have diverged; nothing is merged.")],
        see: &["dvc-fetch(1)", "dvc-checkout(1)", "dvc-remotes(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "push",
        text: &[(REMOTES, "push"), (REMOTES, "Steps of a push")],
        exit: &[
            (
                "4",
                "The branch of the remote has versions that are not local.",
            ),
            (
                "6",
                "The remote cannot be reached. Commits are safe in the local repository, and the next push sends them.",
            ),
        ],
        see: &[
            "dvc-fetch(1)",
            "dvc-remote(1)",
            "dvc-hooks(7)",
            "dvc-remotes(7)",
        ],
        ..PLAIN
    },
    VerbFacts {
        verb: "remote",
        text: &[(REMOTES, "Commands")],
        see: &["dvc-push(1)", "dvc-remotes(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "remote check",
        text: &[(REMOTES, "remote check")],
        see: &["dvc-remotes(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "serve",
        text: &[(DOCKER, "Set up"), (DOCKER, "Guarantees")],
        environment: &[(
            "DVC_DATA_DIR",
            "The directory of volumes and clones; by default /var/lib/dvc.",
        )],
        files: &[
            ("/run/docker/plugins/dvc.sock", "The socket of the driver."),
            ("/var/lib/dvc/volumes", "The volumes."),
            (
                "/etc/dvc/plugin.env",
                "The environment of dvc-plugin.service.",
            ),
        ],
        see: &["dvc-volume(1)", "docker-volume-create(1)", "systemctl(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "show",
        see: &["dvc-log(1)", "dvc-ls(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "status",
        exit: &[CHANGED, NOT_ALL],
        see: &["dvc-diff(1)", "dvc-commit(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "tag",
        see: &["dvc-branch(1)", "dvc-undo(1)", "dvc-revisions(7)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "trash",
        text: &[(CARE, "Trash")],
        exit: &[
            (
                "3",
                "A part of the trash cannot be read, or a file was not restored.",
            ),
            (
                "4",
                "Newer changes or a volume with the same name are in the way, or `empty` was not confirmed; nothing was changed.",
            ),
        ],
        files: &[(
            ".dvcs/trash-local/",
            "Overlays of mounts and volumes in the trash.",
        )],
        see: &[
            "dvc-undo(1)",
            "dvc-forget(1)",
            "dvc-gc(1)",
            "dvc-umount(1)",
            "dvc-volume(1)",
        ],
        ..PLAIN
    },
    VerbFacts {
        verb: "umount",
        exit: &[("11", "A process uses the mount; the message names it.")],
        see: &["dvc-mount(1)", "dvc-trash(1)", "umount(8)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "undo",
        text: &[(CLI, "Undoing")],
        see: &["dvc-branch(1)", "dvc-log(1)", "dvc-trash(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "unpack",
        text: &[(SIDECAR, "unpack"), (SIDECAR, "Environment")],
        exit: &[(
            "4",
            "Content would be replaced; a preview was shown. `--yes` continues.",
        )],
        files: &[
            ("/source", "The volumes."),
            ("/var/lib/dvc/data", "The repository."),
        ],
        see: &["dvc-pack(1)", "dvc-checkout(1)"],
        ..PLAIN
    },
    VerbFacts {
        verb: "volume",
        text: &[
            (DOCKER, "Versions of volumes"),
            (DOCKER, "Local-driver volumes"),
        ],
        files: &[("/var/lib/dvc/volumes", "The volumes.")],
        see: &[
            "dvc-serve(1)",
            "dvc-mount(1)",
            "dvc-commit(1)",
            "docker-volume(1)",
        ],
        ..PLAIN
    },
    VerbFacts {
        verb: "volume has",
        exit: &[("1", "The volume does not exist.")],
        see: &["dvc-volume(1)"],
        ..PLAIN
    },
];

/// Returns the additions to the page of a command, empty for a command that is not listed.
pub(super) fn facts(verb: &str) -> &'static VerbFacts {
    VERBS
        .iter()
        .find(|facts| facts.verb == verb)
        .unwrap_or(&PLAIN)
}

/// Files that every command may use.
pub(super) const FILES: &[Fact] = &[
    (
        ".dvcs/",
        "The repository of the worktree that holds it. Its settings are in `config.toml`, its hooks in `hooks/`.",
    ),
    (
        ".dvcsignore",
        "Patterns of paths that no commit includes, in the grammar of gitignore.",
    ),
    (
        "/etc/dvc/config.toml",
        "The settings of the machine, and of root.",
    ),
    (
        "~/.config/dvc/config.toml",
        "The settings of the user (`XDG_CONFIG_HOME`).",
    ),
    (
        "~/.cache/dvc/, /var/cache/dvc/",
        "Data that can be fetched or rebuilt (`XDG_CACHE_HOME`, `cache.dir`); the second is root's.",
    ),
    (
        "~/.local/state/dvc/, /var/lib/dvc/",
        "Volumes, clones made for mounts, and the machine's own repository (`XDG_STATE_HOME`, `DVC_DATA_DIR`); the second is root's.",
    ),
    (
        "$XDG_RUNTIME_DIR/dvc/, /run/dvc/",
        "Control sockets and state files of mounts (`DVC_RUN_DIR`); the second is root's.",
    ),
    (
        "/run/secrets/NAME",
        "The value of the variable NAME, if the variable is not set.",
    ),
];

/// Text of `mount.dvc(8)`, which no document covers.
pub(super) const MOUNT_HELPER: &str = "\
## Description

`mount(8)`, `fstab(5)` and systemd call this program for file systems of the type `dvc`. It is another name of `dvc`, and takes
the arguments that they pass.

*SOURCE* is `URL#REV`, or `DIRECTORY#REV` for a repository on this machine. *DIR* is the mount point.

## Options

| option | meaning |
|---|---|
| `-o OPTIONS` | options of [mount.md](mount.md) without their dashes, divided by commas, with `_` or `-` within: `ro,allow_other,quota=4G`. If two options contradict each other, the last one is used. `suid` and `dev` are off unless they are written out; options that have no meaning here, such as `_netdev`, `nofail` and `x-systemd.automount`, are accepted |
| `-f` | show what would be mounted, and mount nothing |
| `-n`, `-s` | accepted and ignored |
| `-v` | more messages |

## Examples

A line of `fstab(5)`:

```
s3://backups/amcc#AMCC  /srv/amcc  dvc  ro,allow_other,_netdev,nofail  0 0
```

By hand:

```
mount -t dvc /var/lib/dvc/shop#main /mnt/shop -o ro
```
";
