//! The table of all settings: name, type, default, allowed sources, description.

use super::value::SettingType;

/// One setting.
#[derive(Debug)]
pub(crate) struct SettingKey {
    /// The name, `section.name`.
    pub(crate) name: &'static str,
    /// The type of the value.
    pub(crate) kind: SettingType,
    /// The default; `None` if there is none, or if it is computed at start.
    pub(crate) default: Option<&'static str>,
    /// The environment variable that sets the value. The file that `NAME_FILE` names and
    /// `/run/secrets/NAME` set the value too.
    pub(crate) env: Option<&'static str>,
    /// Whether a repository may set it. A repository may come from a stranger, so it may set
    /// nothing that runs a command.
    pub(crate) in_repository: bool,
    /// Whether the value is secret: it is never shown, and not accepted on the command line.
    pub(crate) secret: bool,
    /// The description for the manual.
    pub(crate) about: &'static str,
}

const fn key(
    name: &'static str,
    kind: SettingType,
    default: &'static str,
    about: &'static str,
) -> SettingKey {
    SettingKey {
        name,
        kind,
        default: Some(default),
        env: None,
        in_repository: true,
        secret: false,
        about,
    }
}

const fn from_env(env: &'static str, key: SettingKey) -> SettingKey {
    SettingKey {
        env: Some(env),
        ..key
    }
}

const fn not_in_repository(key: SettingKey) -> SettingKey {
    SettingKey {
        in_repository: false,
        ..key
    }
}

const fn hook(name: &'static str, about: &'static str) -> SettingKey {
    not_in_repository(computed(key(name, SettingType::Command, "", about)))
}

/// Makes a key secret: without a default, and not settable by a repository.
const fn secret(key: SettingKey) -> SettingKey {
    not_in_repository(computed(SettingKey {
        secret: true,
        ..key
    }))
}

const fn computed(key: SettingKey) -> SettingKey {
    SettingKey {
        default: None,
        ..key
    }
}

const WHEN: SettingType = SettingType::Choice(&["auto", "always", "never"]);
const LEVELS: SettingType = SettingType::Choice(&["error", "warn", "info", "debug"]);

/// All settings, sorted by name.
pub(crate) const KEYS: &[SettingKey] = &[
    not_in_repository(computed(from_env(
        "DVC_CACHE_DIR",
        key(
            "cache.dir",
            SettingType::Path,
            "",
            "the directory of data that can be rebuilt",
        ),
    ))),
    not_in_repository(from_env(
        "DVC_CACHE_SIZE",
        key(
            "cache.size",
            SettingType::Size { min: 64 << 20 },
            "10G",
            "the disk space of the cache of remote objects",
        ),
    )),
    key(
        "commit.exclude",
        SettingType::List,
        "",
        "patterns (as in `.dvcsignore`) of paths that commits exclude; `--exclude` adds to them",
    ),
    key(
        "commit.exclude-caches",
        SettingType::Bool,
        "false",
        "exclude directories marked by a `CACHEDIR.TAG`",
    ),
    key(
        "commit.one-file-system",
        SettingType::Bool,
        "false",
        "do not descend into other file systems",
    ),
    key(
        "commit.running-database",
        SettingType::Choice(&["warn", "refuse", "ignore"]),
        "warn",
        "the action of a commit if a database runs in the committed directory",
    ),
    key(
        "core.heal",
        SettingType::Bool,
        "true",
        "read damaged objects from a remote that has them",
    ),
    computed(from_env(
        "DVC_JOBS",
        key("core.jobs", SettingType::Count, "", "the number of threads"),
    )),
    from_env(
        "DVC_MEMORY",
        key(
            "core.memory",
            SettingType::Size { min: 64 << 20 },
            "192M",
            "the memory for buffers and tables of an operation",
        ),
    ),
    key(
        "gc.grace",
        SettingType::Duration,
        "1h",
        "how long `gc` waits before it marks unneeded packs as dead, and again before it deletes them",
    ),
    key(
        "gc.keep-local-trash",
        SettingType::Duration,
        "7d",
        "how long `gc` keeps overlays, volumes and files of worktrees in the trash",
    ),
    key(
        "gc.keep-log",
        SettingType::Duration,
        "30d",
        "how long `gc` keeps the previous versions of moved and deleted refs",
    ),
    key(
        "gc.keep-trash",
        SettingType::Duration,
        "14d",
        "how long `gc` keeps forgotten versions",
    ),
    key(
        "gc.max-repack",
        SettingType::Size { min: 0 },
        "0",
        "the bytes that `gc` may copy; 0 means no limit",
    ),
    key(
        "gc.max-time",
        SettingType::Duration,
        "0",
        "the time after which `gc` stops copying; 0 means no limit",
    ),
    key(
        "gc.max-unused",
        SettingType::Text,
        "10%",
        "the share of unused data that `gc` leaves in packs",
    ),
    key(
        "gc.remote-grace",
        SettingType::Duration,
        "24h",
        "the value of `gc.grace` for remotes",
    ),
    computed(key(
        "gc.settle",
        SettingType::Duration,
        "",
        "how long `gc` waits for late writes to a remote without conditional writes; change it only in tests",
    )),
    hook(
        "hook.failed-commit",
        "the command to run after a failed commit; the JSON on its standard input describes the failure",
    ),
    hook("hook.failed-push", "the command to run after a failed push"),
    hook("hook.post-commit", "the command to run after a commit"),
    hook("hook.post-push", "the command to run after a push"),
    hook(
        "hook.pre-commit",
        "the command to run before a commit; if it fails, nothing is committed",
    ),
    hook(
        "hook.pre-push",
        "the command to run before a push; if it fails, nothing is pushed",
    ),
    key(
        "hook.timeout",
        SettingType::Duration,
        "5m",
        "the time limit of a hook",
    ),
    key(
        "init.branch",
        SettingType::Text,
        "main",
        "the first branch of a new repository",
    ),
    key(
        "network.limit-down",
        SettingType::Size { min: 0 },
        "0",
        "the limit on received bytes per second; 0 means no limit",
    ),
    key(
        "network.limit-up",
        SettingType::Size { min: 0 },
        "0",
        "the limit on sent bytes per second; 0 means no limit",
    ),
    key(
        "network.offline",
        SettingType::Bool,
        "false",
        "do not use the network",
    ),
    secret(from_env(
        "DVC_QUIESCE_PASSWORD",
        key(
            "quiesce.password",
            SettingType::Text,
            "",
            "the password of the databases for `commit --quiesce`",
        ),
    )),
    not_in_repository(from_env(
        "DVC_SAFE_DIRECTORY",
        key(
            "safe.directory",
            SettingType::List,
            "",
            "trusted repositories of other users; `DIR/*` trusts all below DIR, `*` trusts all",
        ),
    )),
    key("ui.color", WHEN, "auto", "whether to colour the output"),
    from_env(
        "DVC_LOG",
        key(
            "ui.log",
            LEVELS,
            "info",
            "the lowest level of messages that are printed on standard error",
        ),
    ),
    not_in_repository(from_env(
        "DVC_PAGER",
        key(
            "ui.pager",
            SettingType::Text,
            "auto",
            "the command that pages long output; `auto` means `$PAGER` or `less`; if empty, no pager is used",
        ),
    )),
    key(
        "ui.progress",
        WHEN,
        "auto",
        "whether to show progress bars on standard error",
    ),
    computed(from_env(
        "DVC_AUTHOR",
        key(
            "user.author",
            SettingType::Author,
            "",
            "the author of versions, `Name <email>`; by default made from `user.name` and `user.email`",
        ),
    )),
    computed(key(
        "user.email",
        SettingType::Text,
        "",
        "the email address of the author",
    )),
    computed(key(
        "user.name",
        SettingType::Text,
        "",
        "the name of the author",
    )),
];

/// Returns the setting with a name, or the error message for an unknown name.
pub(crate) fn find_key(
    table: &'static [SettingKey],
    name: &str,
) -> Result<&'static SettingKey, String> {
    if let Some(key) = table.iter().find(|k| k.name == name) {
        return Ok(key);
    }
    let near = dvc::model::suggest::nearest(name, table.iter().map(|k| k.name));
    Err(match near {
        Some(near) => format!("unknown setting `{name}`, did you mean `{near}`?"),
        None => format!("unknown setting `{name}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(KEYS.windows(2).all(|w| w[0].name < w[1].name));
        for key in KEYS {
            if let Some(default) = key.default {
                assert!(key.kind.parse(default).is_ok(), "{}", key.name);
            }
        }
    }
}
